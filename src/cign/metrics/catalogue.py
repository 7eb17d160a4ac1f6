"""The catalogue of all metrics of a run: groups of named metrics, each with its formula.

To add a group, add one entry to `GROUPS`: its title, the formulas of its metrics, and a pure
function from the stored data of a run to ``modality -> name -> value``. The command
``cign metrics`` and the report show every group in `GROUPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cign.metrics import (
    breakdown,
    calibration,
    costs,
    embeddings,
    imbalance,
    incremental,
    open_set,
)
from cign.metrics.embedded import Embeddings
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

Numbers = dict[str, dict[str, Any]]
# Key of metrics that belong to the whole run rather than to one modality.
RUN = "run"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The stored data of a run that metrics are computed from.

    Attributes:
        predictions: Scores of the run.
        costs: Costs as in ``metrics.json``.
        num_train: Number of training clips of each class; None if the run did not record them.
        total_train: Number of training clips of all tasks; None if the run did not record it.
        embeddings: Embeddings by its final model; None if it stored none.
        has_scores: Whether the predictions are scores rather than only the predicted class.
        joint: Predictions of ``joint`` on the same tasks, if available.
    """

    predictions: Predictions
    costs: Mapping[str, float | None] = field(default_factory=dict)
    num_train: Mapping[str, int] | None = None
    total_train: int | None = None
    embeddings: Embeddings | None = None
    has_scores: bool = True
    joint: Predictions | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of related metrics.

    Attributes:
        title: Heading shown to users.
        definitions: The formula of each metric.
        compute: Returns modality (or `RUN`) -> name -> value, with None for an undefined value;
            an empty dictionary if the run lacks the data.
        decimals: Number of decimals to show, for metrics that do not show one.
    """

    title: str
    definitions: Mapping[str, str]
    compute: Callable[[Stored], Numbers]
    decimals: Mapping[str, int] = field(default_factory=dict)


def _incremental(stored: Stored) -> Numbers:
    found = incremental.summarise(stored.predictions)
    result: Numbers = {
        modality: {name: found[modality][name] for name in _INCREMENTAL} for modality in found
    }
    if stored.joint is not None:
        for modality in MODALITIES:
            gaps = incremental.intransigence(
                incremental.accuracy_matrix(stored.predictions, modality),
                incremental.accuracy_matrix(stored.joint, modality),
            )
            known = gaps[~np.isnan(gaps)]
            result[modality]["intransigence"] = 100.0 * float(known.mean()) if len(known) else None
    return result


def _costs(stored: Stored) -> Numbers:
    num_classes = len(stored.predictions.class_names)
    return {
        RUN: dict(
            costs.summarise(stored.costs, num_train=stored.total_train, num_classes=num_classes)
        )
    }


_INCREMENTAL = {
    name: incremental.DEFINITIONS[name]
    for name in ("last", "average", "task_mean", "forgetting", "forgetting_av_cil", "bwt")
}
_OF_CLASSES = ("silhouette", "davies_bouldin", "knn", "nmi")

GROUPS: dict[str, Group] = {
    "incremental": Group(
        title="Class-incremental learning",
        definitions=_INCREMENTAL
        | {
            "last": f"A_T; {incremental.DEFINITIONS['seen']}",
            "task_mean": f"mean over j of a(T,j); {incremental.DEFINITIONS['matrix']}",
            "intransigence": f"mean over k of {incremental.DEFINITIONS['intransigence']}",
        },
        compute=_incremental,
    ),
    "old_and_new": Group(
        title="Old and new classes, after the last task",
        definitions=breakdown.DEFINITIONS,
        compute=lambda stored: breakdown.summarise(stored.predictions),
    ),
    "open_set": Group(
        title="Open set: clips of unknown classes",
        definitions=open_set.RUN_DEFINITIONS,
        compute=lambda stored: (
            dict(open_set.summarise(stored.predictions)) if stored.has_scores else {}
        ),
    ),
    "imbalance": Group(
        title="Imbalance, after the last task",
        definitions=imbalance.DEFINITIONS,
        compute=lambda stored: dict(imbalance.summarise(stored.predictions, stored.num_train)),
    ),
    "calibration": Group(
        title="Calibration, after the last task",
        definitions=calibration.DEFINITIONS,
        compute=lambda stored: (
            dict(calibration.summarise(stored.predictions)) if stored.has_scores else {}
        ),
        decimals={"brier": 3},
    ),
    "embeddings": Group(
        title="Embeddings of the final model",
        definitions={
            name + suffix: text if not suffix else f"{name} of {alone}"
            for suffix, alone in embeddings.SUBSETS.items()
            for name, text in embeddings.DEFINITIONS.items()
            if not suffix or name in _OF_CLASSES
        },
        compute=lambda stored: (
            {} if stored.embeddings is None else dict(embeddings.summarise(stored.embeddings))
        ),
        decimals={
            name + suffix: 3
            for suffix in embeddings.SUBSETS
            for name in ("silhouette", "davies_bouldin", "nmi")
        }
        | {"modality_gap": 3},
    ),
    "costs": Group(
        title="Costs",
        definitions=costs.DEFINITIONS,
        compute=_costs,
        decimals=dict.fromkeys(costs.DEFINITIONS, 0) | {"seconds": 1, "seconds_per_clip": 4},
    ),
}


def measure(stored: Stored, names: tuple[str, ...] = tuple(GROUPS)) -> dict[str, Numbers]:
    """All metrics of a run: group -> modality -> name -> value.

    Args:
        stored: The stored data of the run.
        names: Names of the groups to compute.
    """
    return {name: GROUPS[name].compute(stored) for name in names}
