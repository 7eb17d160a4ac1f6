"""What the page says about one run in words and tables: classes, mistakes, where it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from cign.metrics.breakdown import confusion
from cign.metrics.incremental import class_recall, class_targets
from cign.metrics.predictions import READINGS
from cign.report.runs import Run
from cign.report.text import flatten

_MAX_MISTAKES = 8
_SEEDS = {"run": "seed", "order": "class order"}


def classes_of(run: Run) -> list[list[dict[str, Any]]]:
    """Per task, each class with its number of test clips and its recalls after the last task."""
    recalls = {r: 100 * class_recall(run.predictions, r) for r in READINGS}
    num_clips = class_targets(run.predictions).sum(axis=0)
    result, c = [], 0
    for task_size in run.task_sizes[: run.predictions.num_tasks_done]:
        result.append(
            [
                {
                    "name": run.predictions.class_names[i],
                    "num_test": int(num_clips[i]),
                    "recall": {r: float(recalls[r][i]) for r in READINGS},
                }
                for i in range(c, c + task_size)
            ]
        )
        c += task_size
    return result


def mistakes_of(run: Run) -> list[dict[str, Any]]:
    """The most frequent confusions of the audio-visual reading after the last task."""
    predictions = run.predictions
    table = confusion(predictions, "audio_visual")
    if table is None:
        return []
    num_seen = len(table)
    totals = table.sum(axis=1)
    np.fill_diagonal(table, 0)
    order = np.argsort(-table, axis=None, kind="stable")[:_MAX_MISTAKES]
    pairs = [divmod(int(place), num_seen) for place in order]
    return [
        {
            "true": predictions.class_names[i],
            "given": predictions.class_names[j],
            "count": int(table[i, j]),
            "of": int(totals[i]),
        }
        for i, j in pairs
        if table[i, j] > 1
    ]


def facts_of(run: Run) -> dict[str, str]:
    """Seeds, list, versions and machine, flat."""
    groups = {key: run.metrics.get(key, {}) for key in ("seeds", "store", "versions", "machine")}
    return {"folder": run.folder.name, "list hash": run.list_hash} | {
        key.replace(".", " · "): value
        for key, value in flatten(groups).items()
        if key != "store.list_hash"
    }


def provenance(run: Run) -> str:
    """Seed, order, list and versions in one line."""
    seeds, versions = run.metrics.get("seeds", {}), run.metrics.get("versions", {})
    parts = [f"{what} {seeds[key]}" for key, what in _SEEDS.items() if key in seeds]
    lists = " + ".join(part[:12] for part in run.list_hash.split(" + "))
    parts.append(f"list {lists}")
    parts += [f"{name} {versions[name]}" for name in ("cign", "torch") if name in versions]
    return ", ".join(parts)
