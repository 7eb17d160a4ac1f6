"""Error breakdown: confusions between classes, between old and new classes, and forgetting."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.metrics.incremental import (
    class_targets,
    is_multi_label,
    predicted_classes,
    task_of_class,
)
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

DEFINITIONS: dict[str, str] = {
    "old_as_old": "share of the test clips of old classes (tasks 1..T-1) that are predicted as an "
    "old class after the last task, correctly or not",
    "old_as_new": "share of the test clips of old classes that are predicted as a class of the "
    "last task",
    "new_as_old": "share of the test clips of the last task's classes that are predicted as an old "
    "class",
    "new_as_new": "share of the test clips of the last task's classes that are predicted as one of "
    "them, correctly or not",
}
TASK_FORGETTING = (
    "f(j) = max over l in j..T-1 of a(l,j) - a(T,j), for j < T; forgetting is its mean"
)


def confusion(predictions: Predictions, modality: str) -> npt.NDArray[np.int64] | None:
    """Confusion matrix after the last task: true classes are rows, predicted ones are columns.

    Returns:
        ``[C, C]`` over the classes seen, in clips; None before the first task and if clips have
        several labels.
    """
    if not predictions.num_tasks_done or is_multi_label(predictions):
        return None
    last = predictions.num_tasks_done - 1
    num_seen = predictions.num_seen(last)
    targets_NC = class_targets(predictions)[:, :num_seen]
    rows_N = targets_NC.any(axis=1)
    table = np.zeros((num_seen, num_seen), dtype=np.int64)
    predicted_N = predicted_classes(predictions, last, modality)[rows_N]
    np.add.at(table, (targets_NC[rows_N].argmax(axis=1), predicted_N), 1)
    return table


def old_and_new(
    table_CC: npt.NDArray[np.int64], is_new_C: npt.NDArray[np.bool_]
) -> dict[str, float | None]:
    """Compute the four metrics of `DEFINITIONS`, in percent, from a matrix of `confusion`.

    Returns:
        Two pairs that each add up to 100; None where a group has no test clip.
    """
    groups = {"old": ~is_new_C, "new": is_new_C}
    result: dict[str, float | None] = {}
    for true, rows in groups.items():
        total = table_CC[rows].sum()
        for predicted, columns in groups.items():
            share = 100.0 * table_CC[np.ix_(rows, columns)].sum() / total if total else None
            result[f"{true}_as_{predicted}"] = None if share is None else float(share)
    return result


def is_new(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """Which of the classes seen belong to the last task learned, ``[C]``."""
    last = predictions.num_tasks_done - 1
    return np.asarray(task_of_class(predictions)[: predictions.num_seen(last)] == last)


def summarise(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """The metrics of `DEFINITIONS` for every modality; None where they are not defined."""
    result: dict[str, dict[str, Any]] = {}
    for modality in MODALITIES:
        table = confusion(predictions, modality) if predictions.num_tasks_done > 1 else None
        result[modality] = (
            dict.fromkeys(DEFINITIONS) if table is None else old_and_new(table, is_new(predictions))
        )
    return result


@register_metrics("old_and_new")
class OldAndNew(MetricGroup):
    """Confusions between old and new classes."""

    title = "Old and new classes, after the last task"
    position = 20
    definitions = DEFINITIONS

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        return summarise(stored.predictions)
