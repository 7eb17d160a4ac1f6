"""What depends on the number and the order of tasks when settings are selected from the clips.

    CIGN_REAL=FOLDER python benchmarks/task_order.py

runs `cign_analytic` with its recipe on the first fold by source of each real set (`folds.py`; test
clips are not read), in 1, 4, 12 and 24 tasks and four class orders, and writes
``benchmarks/results/task_order.md``. Finished runs are kept in ``WORK/task_order`` and not
repeated: delete them after a change of the method. Two comparisons with the run of one task in the
first order:

- with the settings that each run selected: how many settings and predictions differ;
- with the same settings for all runs, solved again from their sums: how far probabilities differ.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from compare_data import REAL_SETS, Folds
from compare_stores import token_name

from cign.data.store import Store
from cign.data.tasks import TaskClips, split_into_tasks
from cign.errors import InputError
from cign.methods.closed_form import ClosedForm
from cign.metrics.incremental import average_precisions
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig
from cign.runs.training_data import TrainingData
from cign.utils.files import replacing, write_text
from cign.vocabulary import MODALITIES, UNIMODAL

OUT = Path(__file__).parent / "results" / "task_order.md"
TASKS, ORDERS, BACKBONE, FOLD = (1, 4, 12, 24), (0, 1, 2, 3), "lite0+sfx", 0
Floats = npt.NDArray[np.floating[Any]]


def probabilities(method: ClosedForm, store: Store, backbone: str, names: list[str]) -> Floats:
    """Probabilities of the test clips, classes in the order of their names, [3, N, C]."""
    tokens, test = store.tokens(backbone), store.indices("test")
    with torch.no_grad():
        output = method(
            torch.from_numpy(tokens.audio(test)).float(),
            torch.from_numpy(tokens.visual(test)).float(),
        )
    columns = np.argsort(names)
    return np.stack([output.probabilities[m].numpy()[:, columns] for m in MODALITIES])


def make_run(
    store: Store, backbone: str, num_tasks: int, order: int, same: list[int] | None
) -> dict[str, Any]:
    """Learn the fold's classes in tasks.

    Args:
        store: The fold.
        backbone: Name of its tokens.
        num_tasks: Number of tasks.
        order: Class order.
        same: Numbers of the settings for the second comparison; None uses those of this run.

    Returns:
        ``selected``, ``numbers`` (of the settings), ``own`` and ``same``: probabilities with the
        run's settings and with the given ones.
    """
    groups = split_into_tasks(store.class_names, num_tasks, order).groups
    config = RunConfig.of(
        "cign_analytic", tasks=groups, order=order, backbone=backbone, device="cpu"
    )
    loop = build_loop(config, TrainingData.open(config, store))
    loop.run()
    method = loop.method
    assert isinstance(method, ClosedForm)
    names = [name for group in groups for name in group]
    numbers = [int(method.of(m).chosen) for m in UNIMODAL]
    found = {"selected": json.dumps(method.selected), "numbers": np.array(numbers)}
    found["own"] = probabilities(method, store, backbone, names)
    for modality, number in zip(UNIMODAL, same or numbers, strict=True):
        method.of(modality).use(number)
    method.solve()
    return found | {"same": probabilities(method, store, backbone, names)}


def has_clips_in_each_task(store: Store, num_tasks: int, order: int) -> bool:
    """Whether every task has training clips; a clip with several labels is in the last one's task.

    Args:
        store: The fold.
        num_tasks: Number of tasks.
        order: Class order.
    """
    tasks = split_into_tasks(store.class_names, num_tasks, order)
    clips = TaskClips.of([clip.labels for clip in store.table.clips], tasks)
    train = store.indices("train")
    return all(len(clips.of_task(train, task)) for task in range(num_tasks))


def accuracy(found: Floats, store: Store) -> float:
    """Audio-visual accuracy in percent, or mean average precision with several labels."""
    clips = store.table.clips
    truth = [clips[i].labels for i in store.indices("test")]
    names = np.array(sorted(store.class_names))
    if max(map(len, truth)) == 1:
        return float(100 * np.mean(names[found.argmax(axis=1)] == [name for (name,) in truth]))
    targets = np.array([[name in labels for name in names] for labels in truth])
    present = targets.any(axis=0)
    return float(100 * np.mean(average_precisions(found[:, present], targets[:, present])))


def rows(real: Path, work: Path) -> list[str]:
    """Make the missing runs; lines of the page's table."""
    lines = []
    for dataset in REAL_SETS:
        data = Folds(dataset)
        data.prepare(work / "real_table", real, BACKBONE)
        folder = data.folder(work / "real_table", 0, BACKBONE)
        backbone = token_name(folder, BACKBONE)
        store, reference = data.view(Store.open(folder), FOLD), None
        for num_tasks in TASKS:
            runs = []
            for order in ORDERS:
                if not has_clips_in_each_task(store, num_tasks, order):
                    continue
                path = work / "task_order" / f"{dataset}-{num_tasks}-{order}.npz"
                if not path.is_file():
                    begun = time.monotonic()
                    same = None if reference is None else reference["numbers"].tolist()
                    found = make_run(store, str(backbone), num_tasks, order, same)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(path) as temporary, temporary.open("wb") as file:
                        np.savez(file, **found)
                    print(f"{path.stem}: {time.monotonic() - begun:.0f} s", flush=True)
                run = dict(np.load(path, allow_pickle=False))
                reference = run if reference is None else reference
                runs.append(run)
            assert reference is not None
            if runs:
                lines.append(_row(dataset, num_tasks, runs, reference, store))
    return lines


def _row(
    dataset: str, num_tasks: int, runs: list[Any], reference: dict[str, Any], store: Store
) -> str:
    numbers = {tuple(run["numbers"].tolist()) for run in runs}
    fused = MODALITIES.index("audio_visual")
    changed = [
        100 * np.mean(run["own"][fused].argmax(1) != reference["own"][fused].argmax(1))
        for run in runs
    ]
    values = [accuracy(run["own"][fused], store) for run in runs]
    apart = max(float(np.abs(run["same"] - reference["same"]).max()) for run in runs)
    first = [
        100 * np.mean(run["same"][fused].argmax(1) != reference["same"][fused].argmax(1))
        for run in runs
    ]
    return (
        f"| {dataset} | {num_tasks} | {len(runs)} | {len(numbers)} | {min(changed):.1f} to "
        f"{max(changed):.1f} | {min(values):.1f} to {max(values):.1f} | {apart:.1e} | "
        f"{max(first):.1f} |"
    )


def main() -> None:
    """Make the runs, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, default=os.environ.get("CIGN_REAL"))
    parser.add_argument("--work", type=Path, default=Path("work"))
    options = parser.parse_args()
    if options.real is None:
        raise InputError("missing-option", "name the folder of the built sets in CIGN_REAL")
    table = rows(Path(options.real), options.work)
    write_text(
        OUT,
        f"""# Dependence on the order of tasks

`CIGN_REAL=FOLDER python benchmarks/task_order.py`

`cign_analytic` with its recipe, `{BACKBONE}`, on the first of five folds by source of the training
and validation clips of each real set; 1, 4, 12 and 24 tasks, four class orders each. All runs are
compared with the run of one task in the first order.

- *orders*: class orders in which every task has clips. A clip with several labels comes with the
  last of its classes, so that a task of one or two classes can be left without any.
- *settings*: how many pairs of settings (audio, visual) were selected in these orders.
- *first classes changed*: share of the held-out clips, in percent, whose first class by both
  modalities is another; with several labels, the class ranked first.
- *accuracy*: by both modalities, in percent, least and greatest of the orders (mean average
  precision for real24_duets).
- *same settings*: the settings of the compared run for all, solved from each run's own sums; the
  largest difference of any probability, and the greatest share of first classes changed. Sums are
  added in another order there, so that they differ by rounding.

| set | tasks | orders | settings | first classes changed | accuracy | same settings | changed |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""
        + "\n".join(table)
        + "\n",
    )


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
