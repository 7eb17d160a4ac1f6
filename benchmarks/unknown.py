"""How well `cign_analytic` tells clips of classes never taught, by every score it can give.

Learns each store in four tasks and scores its test clips after each. After step k the clips of the
classes still to come are the unknowns, with those of split `unknown` where the store has them;
rules are set on the validation clips that a model keeps. The oracle has all training clips of the
classes taught at hand: the distance of a clip's mean tokens, layer-normalised, to the nearest one.

    python benchmarks/unknown.py STORE... [--tasks 4] [--out benchmarks/results/unknown.md]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch

from cign.data.store import Store
from cign.data.tasks import split_into_tasks
from cign.files import write_text
from cign.kept import choose_kept, validation_clips
from cign.learner import Learner
from cign.methods.base import READINGS
from cign.metrics.open_set import answered_right, is_known, open_set
from cign.runs import build_loop
from cign.train import Loop
from cign.unknown.evidence import EvidenceReader
from cign.unknown.rule import SCORES, possible_scores, read_evidence, rule_on

BACKBONE = "small"
ORACLE = "oracle"
METRICS = ("auroc", "fpr95", "oscr")
# reading -> score -> metrics of each step
Table = dict[str, dict[str, list[dict[str, float]]]]


def mean_tokens(store: Store, indices: np.ndarray) -> torch.Tensor:
    """Mean token of each modality, layer-normalised, side by side, [N, D_a + D_v]."""
    cache = store.tokens(BACKBONE)
    parts = [
        torch.from_numpy(read(indices)).float().mean(1) for read in (cache.audio, cache.visual)
    ]
    return torch.cat([torch.nn.functional.layer_norm(x, x.shape[1:]) for x in parts], dim=1)


def measure(loop: Loop, store: Store, test: np.ndarray, step: int, table: Table) -> None:
    """Score the test clips by every score after a step."""
    classes = loop.clips.tasks.class_order[: loop.clips.tasks.num_seen(step)]
    labels = [store.table.clips[i].labels for i in test]
    known, unknown = is_known(labels, classes)
    if not len(unknown):
        return
    loop.method.eval()
    reader = EvidenceReader(loop.method, with_distance=True)
    of_clips = [clip.labels for clip in store.table.clips]
    kept = choose_kept(of_clips, validation_clips(store, classes), Counter())
    validation = read_evidence(reader, loop.source, kept)
    tested = read_evidence(reader, loop.source, test)
    trained = loop.train[[set(classes).issuperset(of_clips[i]) for i in loop.train]]
    apart = torch.cdist(mean_tokens(store, test), mean_tokens(store, trained)).amin(1).numpy()
    for reading in READINGS:
        answers = np.concatenate([one.probabilities[reading].numpy() for one in tested])
        right = answered_right(answers[known], [labels[i] for i in known], classes)
        for name in possible_scores(reader):
            multi_label = loop.method.setup.multi_label
            rule = rule_on(validation, name, multi_label=multi_label)
            values = np.concatenate([rule.values(one, reading) for one in tested])
            found = open_set(values[known], right, values[unknown])
            threshold = rule.thresholds[reading]
            found["known_lost"] = 100.0 * float(np.mean(values[known] > threshold))
            found["unknown_told"] = 100.0 * float(np.mean(values[unknown] > threshold))
            table[reading][name].append(found)
        table[reading][ORACLE].append(open_set(apart[known], right, apart[unknown]))


def run(folder: Path, num_tasks: int) -> tuple[Table, int]:
    """Learn a store; gives what was measured and the number of steps it was measured after."""
    store = Store.open(folder)
    tasks = split_into_tasks(store.class_names, num_tasks).groups
    config = Learner("cign_analytic", backbone=BACKBONE).config
    loop = build_loop(dataclasses.replace(config, tasks=tasks, backbone=BACKBONE), store)
    test, loop.test = loop.test, loop.test[:1]  # scored here, and not twice
    loop.predictions = dataclasses.replace(
        loop.predictions,
        clip_ids=loop.predictions.clip_ids[:1],
        labels=loop.predictions.labels[:1],
    )
    table: Table = defaultdict(lambda: defaultdict(list))
    loop.after_task = lambda: measure(loop, store, test, loop.place.task - 1, table)
    loop.run()
    return table, len(table["audio_visual"][ORACLE])


def described(store: Store) -> str:
    """What a store holds, as its maker was told."""
    made = (store.info.get("synth") or {}).get("config")
    if made is None:
        return f"{store.num_clips} clips."
    options = {"classes": "num_classes", "train": "num_train", "val": "num_val", "test": "num_test"}
    counts = " ".join(f"--{name} {made[key]}" for name, key in options.items())
    where = f"--worlds {made['world']} --variant {made['variant']}"
    return f"Store: `python benchmarks/stores.py {where} {counts}`."


def mean(steps: list[dict[str, float]], name: str) -> str:
    return f"{np.mean([one[name] for one in steps]):.1f}" if name in steps[0] else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = []
    for folder in arguments.stores:
        table, num_steps = run(folder, arguments.tasks)
        found = table["audio_visual"]
        last = [f"{name}, last step" for name in ("AUROC", "FPR95", "OSCR")]
        lines += [
            f"## {folder.name}",
            "",
            f"{described(Store.open(folder))} Audio-visual reading, percent; means over "
            f"{num_steps} steps, and the last of them.",
            "",
            f"| score | AUROC | FPR95 | OSCR | {' | '.join(last)} | known lost | unknown told |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for name in [name for name in (*SCORES, ORACLE) if name in found]:
            cells = [mean(found[name], metric) for metric in METRICS]
            cells += [mean(found[name][-1:], metric) for metric in METRICS]
            cells += [mean(found[name], metric) for metric in ("known_lost", "unknown_told")]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", "One modality alone, AUROC:", "", "| score | audio | visual |"]
        lines += ["| --- | ---: | ---: |"]
        for name in ("combined", "max_probability"):
            cells = [mean(table[reading][name], "auroc") for reading in READINGS[:2]]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        shown = " ".join(f"work/stores/{folder.name}" for folder in arguments.stores)
        about = (
            f"`python benchmarks/unknown.py {shown}`\n\nknown lost: test clips of known classes "
            "above the threshold, which lets 95 % of the validation clips through; unknown told: "
            "clips of unknown classes above it. What the scores are: docs/predict.md.\n\n"
        )
        write_text(arguments.out, f"# Unknown scores of cign_analytic\n\n{about}{text}")


if __name__ == "__main__":
    main()
