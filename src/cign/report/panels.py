"""Sections of the page beyond accuracy: open set, diagrams, embedding maps, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cign.metrics.breakdown import (
    DEFINITIONS,
    TASK_FORGETTING,
    confusion,
    is_new,
    old_and_new,
)
from cign.metrics.calibration import confidence_pairs, reliability
from cign.metrics.catalogue import METRICS, Numbers
from cign.metrics.incremental import accuracy_matrix, class_recall, is_multi_label, task_forgetting
from cign.metrics.open_set import DEFINITIONS as OPEN_SET
from cign.metrics.open_set import num_unknown, summarise_open_set
from cign.report import confusion as confusions
from cign.report import diagrams
from cign.report.charts import Mark, scatter
from cign.report.maps import NUM_LOOKS, dot, lay_out, map_of
from cign.report.numbers import MAX_MAPS, MODALITY_NAMES
from cign.report.runs import Run
from cign.report.text import number, value_of
from cign.vocabulary import MODALITIES

# (group, name) of audio-visual metrics -> heading in the table "Beyond accuracy".
OVERVIEW = {
    ("open_set", "oscr"): "OSCR",
    ("open_set", "auroc"): "AUROC",
    ("open_set", "fpr95"): "FPR95",
    ("imbalance", "balanced"): "balanced accuracy",
    ("imbalance", "worst_tenth"): "worst tenth",
    ("imbalance", "few"): "few",
    ("old_and_new", "old_as_new"): "old predicted as new",
    ("calibration", "ece"): "ECE",
    ("calibration", "brier"): "Brier",
    ("embeddings", "silhouette"): "silhouette",
    ("embeddings", "knn"): "k-NN",
}
COSTS = {
    "seconds": "time, seconds",
    "bytes_kept": "stored for old classes, bytes",
    "trainable_parameters": "trainable parameters",
}
BESIDE_MAPS = ("silhouette", "davies_bouldin", "knn", "nmi")


def open_set_table(run: Run, is_compact: bool = False) -> dict[str, Any] | None:
    """Open-set metrics after each task; None if no test clip is of an unknown class.

    Args:
        run: A run with at least one task learned.
        is_compact: Whether to show only audio-visual metrics.
    """
    counts = num_unknown(run.predictions)
    if not any(counts) or not run.has_scores:
        return None
    modalities = MODALITIES[-1:] if is_compact else MODALITIES
    steps = summarise_open_set(run.predictions)
    return {
        "modalities": [MODALITY_NAMES[modality] for modality in modalities],
        "names": ["OSCR", "AUROC", "FPR95"],
        "rows": [
            (
                count,
                [
                    value_of(steps[modality][k][name], 1)
                    for modality in modalities
                    for name in ("oscr", "auroc", "fpr95")
                ],
            )
            for k, count in enumerate(counts)
        ],
        "formulas": {
            "OSCR": OPEN_SET["oscr"],
            "AUROC": OPEN_SET["auroc"],
            "FPR95": OPEN_SET["fpr95"],
        },
    }


def run_diagrams(run: Run, is_compact: bool = False) -> dict[str, Any]:
    """The diagrams of one run; None for a diagram that cannot be drawn.

    Args:
        run: A run with at least one task learned.
        is_compact: Whether to draw calibration only for audio-visual predictions, and the
            confusion matrix without numbers.
    """
    predictions = run.predictions
    names, sizes = predictions.class_names, run.task_sizes[: predictions.num_tasks_done]
    recalls = 100 * class_recall(predictions, "audio_visual")
    measure_name = "average precision" if is_multi_label(predictions) else "recall"
    result: dict[str, Any] = {
        "recall": diagrams.recall_bars(
            recalls, names, sizes, f"{measure_name} of each class, audio-visual"
        ),
        "forgetting": None,
        "confusion": None,
        "four": None,
        "reliability": _reliability(run, MODALITIES[-1:] if is_compact else MODALITIES),
        "definitions": {**DEFINITIONS, "task_forgetting": TASK_FORGETTING},
    }
    if len(sizes) > 1:
        drops = {r: 100 * task_forgetting(accuracy_matrix(predictions, r)) for r in MODALITIES}
        if any(not np.isnan(values).all() for values in drops.values()):
            result["forgetting"] = diagrams.forgetting_bars(
                drops, MODALITY_NAMES, "forgetting of each task", "points"
            )
    table = confusion(predictions, "audio_visual")
    if table is not None:
        if len(sizes) > 1:
            result["four"] = old_and_new(table, is_new(predictions))
        if len(table) > confusions.MAX_CLASSES:
            ends = np.cumsum((0, *sizes[:-1]))
            table = np.add.reduceat(np.add.reduceat(table, ends, axis=0), ends, axis=1)
            names, sizes = tuple(f"task {k + 1}" for k in range(len(sizes))), (1,) * len(sizes)
        result["confusion"] = confusions.confusion_diagram(
            table, sizes, names, "confusion", with_counts=not is_compact
        )
    return result


def _reliability(run: Run, modalities: Sequence[str]) -> dict[str, Any] | None:
    """One diagram per modality; None if scores are not probabilities or nothing was tested."""
    result = {}
    for modality in modalities if run.has_scores else ():
        pairs = confidence_pairs(run.predictions, modality)
        if pairs is None or not len(pairs[0]):
            return None
        title = f"reliability, {MODALITY_NAMES[modality]}"
        result[modality] = diagrams.reliability_diagram(reliability(*pairs), title)
    return result


def overview(numbers: Sequence[Mapping[str, Numbers]]) -> dict[str, Any]:
    """The table "Beyond accuracy": headings with formulas, and values and texts per run."""
    columns = [
        key
        for key in OVERVIEW
        if any(one[key[0]].get("audio_visual", {}).get(key[1]) is not None for one in numbers)
    ]
    rows = []
    for one in numbers:
        values = [one[group].get("audio_visual", {}).get(name) for group, name in columns]
        texts = [
            value_of(value, METRICS[group].decimals.get(name, 1))
            for value, (group, name) in zip(values, columns, strict=True)
        ]
        rows.append(list(zip(values, texts, strict=True)))
    heads = [(OVERVIEW[key], METRICS[key[0]].definitions[key[1]]) for key in columns]
    return {"heads": heads, "rows": rows}


def with_maps(runs: Sequence[Run], kinds: Sequence[Any]) -> list[int]:
    """Indices of runs whose embeddings are shown: one of each kind first, up to the limit.

    Args:
        runs: All runs of the page.
        kinds: Kind of each run, for example method and memory.
    """
    having = [i for i, run in enumerate(runs) if run.embeddings is not None]
    first = {kinds[i]: i for i in reversed(having)}
    leading = sorted(first.values())
    others = [i for i in having if i not in leading]
    return sorted((leading + others)[:MAX_MAPS])


def embedding_maps(
    runs: Sequence[Run], shown: Sequence[int], numbers: Sequence[Mapping[str, Numbers]]
) -> dict[str, Any] | None:
    """The embedding maps with their metrics; None if no run has embeddings."""
    if not shown:
        return None
    chosen = [runs[i] for i in shown]
    layouts = lay_out([run.embeddings for run in chosen if run.embeddings is not None])
    first = chosen[0]
    names = first.predictions.class_names
    looks = {name: i for i, name in enumerate(names)}
    same_tasks = all(run.metrics["tasks"] == first.metrics["tasks"] for run in chosen)
    groups = first.metrics["tasks"] if same_tasks else [list(names)]
    decimals = METRICS["embeddings"].decimals
    figures = []
    for i, run, layout in zip(shown, chosen, layouts, strict=True):
        found = numbers[i]["embeddings"]
        assert run.embeddings is not None
        figures.append(
            {
                "name": run.name,
                "svg": None
                if layout is None
                else map_of(layout, names_of(run), looks, f"map of {run.name}"),
                "num_points": 0 if layout is None else len(layout.places),
                "mixed": [MODALITY_NAMES[one].lower() for one in run.embeddings.mixed],
                "rows": [
                    (
                        MODALITY_NAMES[modality],
                        [
                            value_of(found[modality].get(key), 2 if key in decimals else 1)
                            for key in BESIDE_MAPS
                        ],
                    )
                    for modality in MODALITIES
                ],
            }
        )
    return {
        "figures": figures,
        "legend": [[(name, looks[name], dot(looks[name])) for name in group] for group in groups],
        "same_tasks": same_tasks and len(groups) > 1,
        "num_looks": NUM_LOOKS,
        "num_classes": len(names),
        "measures": {key: METRICS["embeddings"].definitions[key] for key in BESIDE_MAPS},
        "left_out": sum(run.embeddings is not None for run in runs) - len(shown),
        "without": [run.name for run in runs if run.embeddings is None],
    }


def names_of(run: Run) -> tuple[str, ...]:
    """The classes of a run in the order learned."""
    return run.predictions.class_names


def cost_charts(
    runs: Sequence[Run], looks: Sequence[int | str], is_reference: Sequence[bool]
) -> dict[str, Any]:
    """Last audio-visual accuracy against each cost that at least two runs recorded."""
    result = {}
    for cost, label in COSTS.items():
        marks = [
            Mark(
                cost=float(price),
                value=value,
                title=f"{run.name}: {number(value)} %, {label} {price:,.0f}",
                look=look,
                counts=not reference,
            )
            for run, look, reference in zip(runs, looks, is_reference, strict=True)
            for price in (run.metrics.get("costs", {}).get(cost),)
            for value in (run.summary["audio_visual"]["last"],)
            if price is not None and value is not None and run.state == "finished"
        ]
        if len(marks) > 1:
            title = f"audio-visual accuracy against {label}"
            result[cost] = scatter(marks, title=title, x_label=label)
    return result
