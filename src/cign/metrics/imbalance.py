"""Metrics for imbalanced data: accuracies in which every class has the same weight.

The recall of a class is the share of its test clips that are predicted as it, among all classes
seen. If clips have several labels, it is the average precision of the class
(`cign.metrics.incremental`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cign.errors import InputError
from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.metrics.incremental import class_recall
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

# Limits on the number of training clips, as in long-tailed recognition (Liu et al. 2019).
MANY_FROM, FEW_BELOW = 101, 20

DEFINITIONS: dict[str, str] = {
    "balanced": "mean over the classes seen of recall after the last task (balanced accuracy); "
    "recall = share of a class's test clips predicted as it",
    "many": "mean recall of the classes with more than 100 training clips",
    "medium": "mean recall of the classes with 20 to 100 training clips",
    "few": "mean recall of the classes with fewer than 20 training clips",
    "worst_tenth": "mean recall of the 10 % of the classes with the lowest recall (rounded up)",
}


def balanced_accuracy(recall_C: npt.NDArray[np.float64]) -> float | None:
    """Mean of the defined recalls; None if none is defined."""
    defined = recall_C[~np.isnan(recall_C)]
    return float(defined.mean()) if len(defined) else None


def worst_tenth(recall_C: npt.NDArray[np.float64]) -> float | None:
    """Mean of the lowest 10 % of the defined recalls, rounded up to a whole class."""
    defined = np.sort(recall_C[~np.isnan(recall_C)])
    return float(defined[: math.ceil(len(defined) / 10)].mean()) if len(defined) else None


def by_frequency(
    recall_C: npt.NDArray[np.float64], num_train_C: npt.NDArray[np.int64]
) -> dict[str, float | None]:
    """Mean recall of the classes with many, medium and few training clips.

    Args:
        recall_C: Recall of each class; NaN for a class without test clips.
        num_train_C: Number of training clips of each class.

    Returns:
        ``many``, ``medium`` and ``few``; None for a group without classes.
    """
    few, many = num_train_C < FEW_BELOW, num_train_C >= MANY_FROM
    kinds = {"many": many, "medium": ~(few | many), "few": few}
    return {name: balanced_accuracy(recall_C[mask]) for name, mask in kinds.items()}


def summarise(
    predictions: Predictions, num_train: Mapping[str, int] | None = None
) -> dict[str, dict[str, float | None]]:
    """Compute the metrics of `DEFINITIONS` after the last task learned, in percent.

    Args:
        predictions: Predictions of the run.
        num_train: Number of training clips of each class by name; with None, ``many``, ``medium``
            and ``few`` are undefined.

    Returns:
        modality -> name -> percent, None where a metric is not defined.

    Raises:
        InputError: If ``num_train`` lacks a class.
    """
    if not predictions.num_tasks_done:
        return {modality: dict.fromkeys(DEFINITIONS) for modality in MODALITIES}
    seen = predictions.class_names[: predictions.num_seen(predictions.num_tasks_done - 1)]
    counts_C = None
    if num_train is not None:
        missing = [name for name in seen if name not in num_train]
        if missing:
            raise InputError(
                "bad-value",
                f"the numbers of training clips lack class {missing[0]!r}: give one for each class",
            )
        counts_C = np.asarray([num_train[name] for name in seen], dtype=np.int64)
    result: dict[str, dict[str, float | None]] = {}
    for modality in MODALITIES:
        recall_C = 100.0 * class_recall(predictions, modality)
        kinds = dict.fromkeys(("many", "medium", "few"))
        result[modality] = {
            "balanced": balanced_accuracy(recall_C),
            **(kinds if counts_C is None else by_frequency(recall_C, counts_C)),
            "worst_tenth": worst_tenth(recall_C),
        }
    return result


@register_metrics("imbalance")
class Imbalance(MetricGroup):
    """Accuracies in which every class has the same weight."""

    title = "Imbalance, after the last task"
    position = 40
    definitions = DEFINITIONS

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        return dict(summarise(stored.predictions, stored.num_train))
