"""Metrics of class-incremental learning, as pure functions of per-clip predictions.

Legend: ``a(k, j)`` is the accuracy on task j's test clips after task k, with the arg-max over all
classes seen up to k; ``A_k`` the accuracy over all test clips of the classes seen up to k. Indices
in the code count from 0. Ties between scores go to the class with the lowest index, the one learned
first.

Accuracies are shares of clips, not means over batches. Clips without a label among the classes of
the run (split ``unknown``) are excluded. If a clip has several labels that are classes of the
run, all accuracies are replaced by mean average precisions: ``a(k, j)`` is then the mean over task
j's classes of the average precision over all test clips with at least one class seen up to k, and
``A_k`` the same over all classes seen up to k.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

Matrix = npt.NDArray[np.float64]

DEFINITIONS: dict[str, str] = {
    "matrix": "a(k,j) = accuracy on task j's test clips after task k, arg-max over all classes "
    "seen up to k",
    "seen": "A_k = accuracy over all test clips of the classes seen up to k (clip-weighted)",
    "last": "A_T",
    "average": "mean over k of A_k (average incremental accuracy, Rebuffi 2017)",
    "task_mean": "mean over j of a(T,j)",
    "forgetting": "mean over j < T of [ max over l in j..T-1 of a(l,j) - a(T,j) ] "
    "(Chaudhry 2018; may be negative)",
    "forgetting_av_cil": "mean over k = 2..T of { mean over j < k of "
    "[ max over l in j..k-1 of a(l,j) - a(k,j) ] } (as in AV-CIL)",
    "bwt": "mean over i < T of [ a(T,i) - a(i,i) ] (Lopez-Paz & Ranzato 2017)",
    "intransigence": "a(k,k) of joint trained on tasks 1..k, minus a(k,k)",
    "map": "multi-label clips: every accuracy is a mean over classes of average precision; "
    "a(k,j) over task j's classes and all test clips with at least one class seen up to k",
}


def task_of_class(predictions: Predictions) -> npt.NDArray[np.int64]:
    """Task (from 0) of each class, ``[C]``."""
    sizes = np.asarray(predictions.task_sizes)
    return np.repeat(np.arange(len(sizes)), sizes)


def class_targets(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """Which classes of the run each clip is labelled with, ``[N, C]``; all false if unknown."""
    index = {name: i for i, name in enumerate(predictions.class_names)}
    targets_NC = np.zeros((predictions.num_clips, len(index)), dtype=bool)
    for row, labels in enumerate(predictions.labels):
        for label in labels:
            if label in index:
                targets_NC[row, index[label]] = True
    return targets_NC


def is_multi_label(predictions: Predictions) -> bool:
    """Whether some clip has several classes of the run: average precision replaces accuracy."""
    return bool((class_targets(predictions).sum(axis=1) > 1).any())


def clip_tasks(predictions: Predictions) -> npt.NDArray[np.int64]:
    """Task (from 0) of each clip, ``[N]``: the latest task of its classes; -1 if unknown."""
    tasks_C = task_of_class(predictions)
    tasks_NC = np.where(class_targets(predictions), tasks_C, -1)
    return np.asarray(tasks_NC.max(axis=1, initial=-1))


def predicted_classes(predictions: Predictions, task: int, modality: str) -> npt.NDArray[np.int64]:
    """Arg-max over the classes seen after ``task`` (from 0), ``[N]``; ties: lowest index."""
    return np.asarray(predictions.scores[task][modality].argmax(axis=1))


def average_precisions(
    scores_NC: npt.NDArray[np.floating[Any]],
    targets_NC: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Average precision of each class over the given clips.

    It is the sum over distinct scores, from the highest, of precision times the gain in recall,
    without interpolation. Clips with equal scores enter together.

    Args:
        scores_NC: ``[N, C]``.
        targets_NC: ``[N, C]``.

    Returns:
        ``[C]`` in [0, 1]; NaN for a class without clips.
    """
    result = np.full(scores_NC.shape[1], np.nan)
    for c in np.flatnonzero(targets_NC.any(axis=0)):
        order = np.argsort(-scores_NC[:, c], kind="stable")
        scores, hits = scores_NC[order, c], targets_NC[order, c]
        last_of_ties = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
        true_positives = np.cumsum(hits)[last_of_ties]
        precision = true_positives / (last_of_ties + 1)
        recall = true_positives / true_positives[-1]
        result[c] = np.sum(precision * np.diff(recall, prepend=0.0))
    return result


def mean_average_precision(
    predictions: Predictions, modality: str, task: int, classes: slice = slice(None)
) -> float:
    """Mean average precision after ``task`` (from 0).

    Args:
        predictions: Predictions of the run.
        modality: One of ``MODALITIES``.
        task: The task after which to evaluate, on all clips with at least one class seen up to it.
        classes: The classes seen to average over; all by default.

    Returns:
        A value in [0, 1]; NaN if no clip has any of the classes.
    """
    targets_NC = class_targets(predictions)[:, : predictions.num_seen(task)]
    rows = targets_NC.any(axis=1)
    scores_NC = predictions.scores[task][modality]
    return _mean(average_precisions(scores_NC[rows, classes], targets_NC[rows, classes]))


def accuracy_matrix(predictions: Predictions, modality: str) -> Matrix:
    """The accuracy matrix a(k, j), in [0, 1].

    Args:
        predictions: Predictions of the run.
        modality: One of ``MODALITIES``.

    Returns:
        ``[T, T]`` over the tasks learned so far; NaN above the diagonal and where task j has no
        test clips. Mean average precisions if clips have several labels.
    """
    num_tasks = predictions.num_tasks_done
    matrix = np.full((num_tasks, num_tasks), np.nan)
    if is_multi_label(predictions):
        for k in range(num_tasks):
            ends = [0, *np.cumsum(predictions.task_sizes[: k + 1]).tolist()]
            for j in range(k + 1):
                classes = slice(ends[j], ends[j + 1])
                matrix[k, j] = mean_average_precision(predictions, modality, k, classes)
        return matrix
    tasks_N = clip_tasks(predictions)
    for k in range(num_tasks):
        right_N = predicted_is_right(predictions, k, modality)
        for j in range(k + 1):
            matrix[k, j] = _mean(right_N[tasks_N == j])
    return matrix


def num_test(predictions: Predictions) -> npt.NDArray[np.int64]:
    """Number of test clips of each task learned so far, ``[T]``."""
    tasks_N = clip_tasks(predictions)
    return np.bincount(tasks_N[tasks_N >= 0], minlength=len(predictions.task_sizes))[
        : predictions.num_tasks_done
    ]


def seen_accuracy(predictions: Predictions, modality: str) -> npt.NDArray[np.float64]:
    """A_k in [0, 1] for every task learned so far, ``[T]``; NaN without test clips."""
    num_tasks = predictions.num_tasks_done
    if is_multi_label(predictions):
        values = [mean_average_precision(predictions, modality, k) for k in range(num_tasks)]
    else:
        tasks_N = clip_tasks(predictions)
        values = [
            _mean(predicted_is_right(predictions, k, modality)[(tasks_N >= 0) & (tasks_N <= k)])
            for k in range(num_tasks)
        ]
    return np.asarray(values, dtype=np.float64)


def class_recall(predictions: Predictions, modality: str) -> Matrix:
    """Share of each class's clips that are predicted as it after the last task.

    If clips have several labels, it is the average precision of the class.

    Returns:
        ``[num_classes_seen]`` in [0, 1]; NaN for a class without test clips.
    """
    task = predictions.num_tasks_done - 1
    targets_NC = class_targets(predictions)[:, : predictions.num_seen(task)]
    rows = targets_NC.any(axis=1)
    if is_multi_label(predictions):
        return average_precisions(predictions.scores[task][modality][rows], targets_NC[rows])
    right_N = predicted_is_right(predictions, task, modality)
    return np.asarray([_mean(right_N[targets_NC[:, c]]) for c in range(targets_NC.shape[1])])


def last(seen: npt.NDArray[np.float64]) -> float | None:
    """Last accuracy A_T, computed from ``seen_accuracy``."""
    return _known(seen[-1]) if len(seen) else None


def average_incremental(seen: npt.NDArray[np.float64]) -> float | None:
    """Mean over k of A_k (Rebuffi et al. 2017), computed from ``seen_accuracy``."""
    return _known(_mean(seen))


def task_mean(matrix: Matrix) -> float | None:
    """Mean over j of a(T, j): every task has the same weight, whatever its number of clips."""
    return _known(_mean(matrix[-1])) if len(matrix) else None


def task_forgetting(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Forgetting of each task but the last: best earlier minus last accuracy (Chaudhry 2018).

    Returns:
        ``[T - 1]``; NaN for a task without test clips. The mean is `forgetting`.
    """
    return np.asarray([matrix[j:-1, j].max() - matrix[-1, j] for j in range(len(matrix) - 1)])


def forgetting(matrix: Matrix) -> float | None:
    """Mean over j < T of [ max over l in j..T-1 of a(l, j) - a(T, j) ] (Chaudhry et al. 2018).

    Returns:
        The forgetting; None for a single task, which has no earlier task to forget. Tasks without
        test clips are excluded.
    """
    return _known(_mean(task_forgetting(matrix)))


def forgetting_av_cil(matrix: Matrix) -> float | None:
    """Mean over the steps k = 2..T of forgetting at step k; None for a single task."""
    steps = [forgetting(matrix[:k, :k]) for k in range(2, len(matrix) + 1)]
    return _known(_mean(np.asarray([step for step in steps if step is not None])))


def bwt(matrix: Matrix) -> float | None:
    """Backward transfer, mean over i < T of [ a(T, i) - a(i, i) ] (Lopez-Paz & Ranzato 2017)."""
    return _known(_mean((matrix[-1] - matrix.diagonal())[:-1])) if len(matrix) else None


def intransigence(matrix: Matrix, joint_matrix: Matrix) -> npt.NDArray[np.float64]:
    """Accuracy gap to joint training on each new task (Chaudhry et al. 2018).

    Args:
        matrix: a(k, j) of the method.
        joint_matrix: a(k, j) of ``joint``, retrained on tasks 1..k at every k.

    Returns:
        ``[T]``: joint's a(k, k) minus the method's.
    """
    assert matrix.shape == joint_matrix.shape, "both runs have the same tasks"
    return np.asarray(joint_matrix.diagonal() - matrix.diagonal())


def summarise(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """All named metrics of a run, in percent, as in ``modalities`` of ``metrics.json``.

    Returns:
        modality -> ``measure`` ("accuracy" or "map"), ``matrix`` and ``num_test`` (``[T][T]``,
        None above the diagonal), ``seen`` (``[T]``), ``last``, ``average``, ``task_mean``,
        ``forgetting``, ``forgetting_av_cil``, ``bwt``. None where a metric is not defined.
    """
    measure = "map" if is_multi_label(predictions) else "accuracy"
    counts = num_test(predictions).tolist()
    num_tasks = len(counts)
    result: dict[str, dict[str, Any]] = {}
    for modality in MODALITIES:
        matrix = 100.0 * accuracy_matrix(predictions, modality)
        seen = 100.0 * seen_accuracy(predictions, modality)
        result[modality] = {
            "measure": measure,
            "matrix": [[_known(value) for value in row] for row in matrix],
            "num_test": [
                [counts[j] if j <= k else None for j in range(num_tasks)] for k in range(num_tasks)
            ],
            "seen": [_known(value) for value in seen],
            "last": last(seen),
            "average": average_incremental(seen),
            "task_mean": task_mean(matrix),
            "forgetting": forgetting(matrix),
            "forgetting_av_cil": forgetting_av_cil(matrix),
            "bwt": bwt(matrix),
        }
    return result


def predicted_is_right(predictions: Predictions, task: int, modality: str) -> npt.NDArray[np.bool_]:
    """Whether the arg-max after ``task`` is a label of the clip, ``[N]``."""
    chosen_N = predicted_classes(predictions, task, modality)
    targets_NC = class_targets(predictions)
    return np.asarray(targets_NC[np.arange(predictions.num_clips), chosen_N])


def _mean(values: npt.NDArray[Any]) -> float:
    """Mean of the defined values; NaN if there are none (numpy would warn)."""
    defined = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    return float(defined.mean()) if len(defined) else float("nan")


def _known(value: float | np.floating[Any]) -> float | None:
    """Replace NaN, which JSON does not have, by None."""
    return None if np.isnan(value) else float(value)
