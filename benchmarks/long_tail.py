"""Recall of classes with many, medium and few training clips, for two methods.

Uses the runs of a study; nothing is trained:

    python benchmarks/long_tail.py work/studies/flagship_longtail/long-tail \
        --method cign_analytic --against analytic

writes ``benchmarks/results/long_tail.md``. Intervals of differences are the wider of Student's t
over synthetic datasets and a bootstrap over datasets and, within them, over each class's clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cign.bench.intervals import paired_intervals
from cign.data.store import Store
from cign.metrics.imbalance import by_frequency
from cign.metrics.incremental import class_targets
from cign.metrics.predictions import Predictions
from cign.utils.files import read_json, write_text
from cign.vocabulary import MODALITIES

KINDS = ("many", "medium", "few")
NUM_DRAWS = 1000  # draws of the clips of a dataset
Floats = npt.NDArray[np.float64]


def training_clips(store: Store, class_names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Training clips of each class, shape [C]."""
    counts = store.table.counts()["train"]
    return np.array([counts.get(name, 0) for name in class_names])


def recalls(predictions: Predictions, counts_C: npt.NDArray[np.int64], draws: int) -> Floats:
    """Recall in percent by modality and kind, shape [M]; with draws of the clips, [M, draws]."""
    targets_NC = class_targets(predictions)
    label_N = targets_NC.argmax(axis=1)
    rng = np.random.default_rng(0)  # the same draws for both methods
    rows = [np.flatnonzero(label_N == c) for c in range(len(counts_C))]
    drawn = [rng.choice(own, size=(draws, len(own))) if draws else own[None] for own in rows]
    found = []
    for modality in MODALITIES:
        right_N = predictions.scores[-1][modality].argmax(axis=1) == label_N
        recall_RC = 100.0 * np.stack([right_N[own].mean(axis=1) for own in drawn], axis=1)
        kinds = [by_frequency(one, counts_C) for one in recall_RC]
        found += [[kind[name] for kind in kinds] for name in KINDS]
    values = np.array(found, dtype=np.float64)
    return values if draws else values[:, 0]


def page(folder: Path, method: str, against: str) -> list[str]:
    """Lines of Markdown."""
    observed: dict[str, list[Floats]] = {method: [], against: []}
    drawn: list[Floats] = []
    sizes = []
    for own in sorted(folder.glob(f"runs/{method}-*")):
        pair = []
        for name in (method, against):
            run = own.with_name(own.name.replace(method, name, 1))
            predictions = Predictions.load(run / "predictions.parquet")
            about = read_json(run / "metrics.json", "metrics of a run")
            counts_C = training_clips(Store.open(Path(about["store"]["path"])), about["classes"])
            observed[name].append(recalls(predictions, counts_C, 0))
            pair.append(recalls(predictions, counts_C, NUM_DRAWS))
        drawn.append(pair[0] - pair[1])
        sizes.append(counts_C)
    if not sizes:
        raise SystemExit(f"{folder} has no runs of {method}: run the study first")
    ours, theirs = (np.stack(observed[name]) for name in (method, against))
    intervals = paired_intervals(ours - theirs, drawn)
    kinds = by_frequency(np.zeros(len(sizes[0])), sizes[0])
    numbers = ", ".join(str(size) for size in np.sort(sizes[0])[::-1])
    lines = [
        "# Recall by class frequency",
        "",
        f"`python benchmarks/long_tail.py {folder} --method {method} --against {against}`",
        "",
        f"{len(sizes)} synthetic datasets, classes of {numbers} training clips; many: more than "
        "100, medium: 20 to 100, few: fewer than 20. Mean recall of the classes of each kind after "
        "the last task, percent; differences in points.",
        "",
        f"| modality | classes | {against} | {method} | difference [95 %] |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    means = (ours - theirs).mean(axis=0)
    for m, (modality, kind) in enumerate((r, k) for r in MODALITIES for k in kinds):
        low, high = intervals.low[m], intervals.high[m]
        lines.append(
            f"| {modality.replace('_', '-')} | {kind} | {theirs[:, m].mean():.1f} | "
            f"{ours[:, m].mean():.1f} | {means[m]:+.1f} [{low:+.1f}, {high:+.1f}] |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="cign_analytic")
    parser.add_argument("--against", default="analytic")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/long_tail.md"))
    arguments = parser.parse_args()
    text = "\n".join(page(arguments.folder, arguments.method, arguments.against)) + "\n"
    print(text)
    write_text(arguments.out, text)


if __name__ == "__main__":
    main()
