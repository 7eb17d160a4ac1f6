"""Metrics other than accuracy for the runs of a table, from their stored predictions.

    python benchmarks/read_again.py work/table [--tasks 4]

writes ``benchmarks/results/other_metrics.md``: open set, confusion of old and new classes, the
worst classes, calibration. Nothing is trained or evaluated again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cign.bench.config import ALL_STORES
from cign.bench.plan import run_name
from cign.bench.worker import is_done
from cign.metrics.catalogue import METRICS, Stored
from cign.metrics.predictions import Predictions
from cign.report.runs import has_scores
from cign.utils.files import read_json, write_text

MODALITY = "audio_visual"
SHOWN = (
    ("open_set", "auroc", "AUROC"),
    ("open_set", "fpr95", "FPR95"),
    ("open_set", "oscr", "OSCR"),
    ("old_and_new", "old_as_new", "old as new"),
    ("old_and_new", "new_as_old", "new as old"),
    ("imbalance", "worst_tenth", "worst tenth"),
    ("calibration", "ece", "ECE"),
    ("calibration", "brier", "Brier"),
)
Numbers = dict[tuple[str, str], float]


def numbers_of(run: Path) -> Numbers:
    """The metrics of a run; NaN where undefined."""
    stored = Stored(predictions=Predictions.load(run / "predictions.parquet"))
    groups = {group: METRICS[group].compute(stored)[MODALITY] for group, _, _ in SHOWN}
    values = ((group, name, groups[group][name]) for group, name, _ in SHOWN)
    return {(group, name): np.nan if x is None else float(x) for group, name, x in values}


def page(folder: Path, tasks: int) -> list[str]:
    """Lines of Markdown; orders are averaged within a store, then stores."""
    table = read_json(folder / "table.json", "table of a bench")
    rows = [row for row in table["rows"] if row["store"] == ALL_STORES and row["tasks"] == tasks]
    lines = [
        "# By other metrics",
        "",
        f"`python benchmarks/read_again.py {folder} --tasks {tasks}`",
        "",
        f"The runs of the main table in {tasks} tasks, audio-visual, from their stored "
        "predictions; means over synthetic datasets ± standard deviation. Percent, except for the "
        "Brier score. Open set: after each task the classes not yet learned are unknown, detected "
        "by the highest class score; mean over the steps. Old as new: test clips of earlier tasks' "
        "classes predicted as a class of the last task. Worst tenth: mean recall of the tenth of "
        "the classes with the lowest recall. Probabilities of lwf and cign are per class and need "
        "not sum to 1. Formulas: docs/metrics.md.",
        "",
        f"| method | memory | {' | '.join(title for _, _, title in SHOWN)} | datasets |",
        f"| --- | --- | {' | '.join('---:' for _ in SHOWN)} | ---: |",
    ]
    for row in rows:
        by_world: dict[str, list[Numbers]] = {}
        for world in table["stores"]:
            name = run_name(row["method"], world, tasks, row["memory"], "*", "*")
            done = [run for run in sorted((folder / "runs").glob(name)) if is_done(run)]
            for run in done:
                if not has_scores(read_json(run / "metrics.json", "metrics")):
                    raise SystemExit(f"{run}: its scores were not stored, but are required")
            if done:
                by_world[world] = [numbers_of(run) for run in done]
        if not by_world:
            continue
        cells = []
        for group, name, _ in SHOWN:
            means = [np.mean([n[group, name] for n in runs]) for runs in by_world.values()]
            decimals = METRICS[group].decimals.get(name, 1)
            spread = f" ± {np.std(means, ddof=1):.{decimals}f}" if len(means) > 1 else ""
            cells.append(f"{np.mean(means):.{decimals}f}{spread}")
        lines.append(
            f"| {row['method']} | {row['memory']} | {' | '.join(cells)} | {len(by_world)} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/other_metrics.md"))
    arguments = parser.parse_args()
    text = "\n".join(page(arguments.folder, arguments.tasks)) + "\n"
    print(text)
    write_text(arguments.out, text)


if __name__ == "__main__":
    main()
