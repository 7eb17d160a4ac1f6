"""Where the errors are: between classes, between old and new ones, and what each task lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cign.metrics.incremental import (
    Matrix,
    class_targets,
    is_multi_label,
    predicted_classes,
    task_of_class,
)
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

DEFINITIONS: dict[str, str] = {
    "old_as_old": "share of the test clips of old classes (of tasks 1..T-1) that are given to an "
    "old class after the last task, rightly or not",
    "old_as_new": "share of the test clips of old classes that are given to a class of the last "
    "task",
    "new_as_old": "share of the test clips of the last task's classes that are given to an old "
    "class",
    "new_as_new": "share of the test clips of the last task's classes that are given to one of "
    "them, rightly or not",
}
TASK_FORGETTING = (
    "f(j) = max over l in j..T-1 of a(l,j) - a(T,j), for j < T; forgetting is its mean"
)


def confusion(predictions: Predictions, modality: str) -> npt.NDArray[np.int64] | None:
    """Test clips by true class (rows) and by the class they are given to, after the last task.

    Returns:
        ``[C, C]`` over the classes seen; None before the first task, and where clips have several
        labels.
    """
    if not predictions.num_tasks_done or is_multi_label(predictions):
        return None
    last = predictions.num_tasks_done - 1
    num_seen = predictions.num_seen(last)
    targets_NC = class_targets(predictions)[:, :num_seen]
    rows_N = targets_NC.any(axis=1)
    table = np.zeros((num_seen, num_seen), dtype=np.int64)
    given_N = predicted_classes(predictions, last, modality)[rows_N]
    np.add.at(table, (targets_NC[rows_N].argmax(axis=1), given_N), 1)
    return table


def old_and_new(
    table_CC: npt.NDArray[np.int64], is_new_C: npt.NDArray[np.bool_]
) -> dict[str, float | None]:
    """The four numbers of `DEFINITIONS`, in percent, from a table of `confusion`.

    Returns:
        Two pairs that each add up to 100; None where a group has no test clip.
    """
    groups = {"old": ~is_new_C, "new": is_new_C}
    result: dict[str, float | None] = {}
    for true, rows in groups.items():
        total = table_CC[rows].sum()
        for given, columns in groups.items():
            share = 100.0 * table_CC[np.ix_(rows, columns)].sum() / total if total else None
            result[f"{true}_as_{given}"] = None if share is None else float(share)
    return result


def is_new(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """Which of the classes seen came with the last task learned, ``[C]``."""
    last = predictions.num_tasks_done - 1
    return np.asarray(task_of_class(predictions)[: predictions.num_seen(last)] == last)


def task_forgetting(matrix: Matrix) -> npt.NDArray[np.float64]:
    """What each task but the last lost: best earlier accuracy minus the last (Chaudhry 2018).

    Returns:
        ``[T - 1]``; NaN for a task without test clips. Their mean is `incremental.forgetting`.
    """
    return np.asarray([matrix[j:-1, j].max() - matrix[-1, j] for j in range(len(matrix) - 1)])


def summarise(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """The numbers of `DEFINITIONS` for every reading; None where they are not defined."""
    result: dict[str, dict[str, Any]] = {}
    for modality in MODALITIES:
        table = confusion(predictions, modality) if predictions.num_tasks_done > 1 else None
        result[modality] = (
            dict.fromkeys(DEFINITIONS) if table is None else old_and_new(table, is_new(predictions))
        )
    return result
