"""Open-set metrics: how well a score separates clips of unknown classes from known ones.

An unknown score is higher for clips that look less like the known classes. After step k, the
unknown classes are those of later tasks and those of split ``unknown``, which are never learned.

Legend: K clips of known classes, U clips of unknown ones, N = K + U, C classes seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.metrics.incremental import class_targets
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

DEFINITIONS: dict[str, str] = {
    "auroc": "probability that a clip of an unknown class has a higher unknown score than one of a "
    "known class; equal scores count half",
    "fpr95": "share of the clips of unknown classes accepted as known at the threshold that "
    "accepts 95 % of the clips of known classes",
    "oscr": "area under the curve of the share of known clips that are accepted and classified "
    "correctly, over the share of unknown clips that are accepted (Dhamija 2018)",
}
# Metrics of a run; the main one is first.
RUN_DEFINITIONS: dict[str, str] = {
    "oscr": f"open-set classification rate, {DEFINITIONS['oscr']}; mean over the steps k after "
    "which there are clips of unknown classes: those of later tasks and those of split unknown. A "
    "clip is accepted if its unknown score (its highest class score, negated) is below a threshold",
    "auroc": f"{DEFINITIONS['auroc']}; mean over the same steps",
    "fpr95": f"{DEFINITIONS['fpr95']}; mean over the same steps",
    "oscr_last": "oscr after task T only, where the unknown clips are those of split unknown",
    "auroc_last": "auroc after task T only",
    "fpr95_last": "fpr95 after task T only",
}


def auroc(known: Floats, unknown: Floats) -> float | None:
    """Area under the ROC curve with unknown clips as the positive class.

    Args:
        known: Scores of clips of known classes, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].

    Returns:
        A value in [0, 1]; None if there are no known or no unknown clips.
    """
    return oscr(known, np.ones(len(known), dtype=np.bool_), unknown)


def fpr_at_recall(known: Floats, unknown: Floats, recall: float = 0.95) -> float | None:
    """Share of unknown clips accepted at the threshold of a given recall of known ones (FPR95).

    The threshold is the lowest score of a known clip such that at least the share ``recall`` of the
    known clips scores no higher. Clips with a score equal to the threshold are accepted.

    Args:
        known: Scores of clips of known classes, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].
        recall: Above 0, at most 1.

    Returns:
        A value in [0, 1]; None if there are no known or no unknown clips.
    """
    assert 0.0 < recall <= 1.0
    if not len(known) or not len(unknown):
        return None
    # The epsilon prevents 0.95 * 20 from being rounded up to 20.
    needed = int(np.ceil(recall * len(known) - 1e-9))
    threshold = np.sort(known)[needed - 1]
    return float(np.mean(unknown <= threshold))


def oscr(known: Floats, right: Bools, unknown: Floats) -> float | None:
    """Area under the open-set classification rate (Dhamija et al., NeurIPS 2018).

    The correct classification rate at a threshold is the share of the known clips that score below
    it and are classified correctly. It is plotted over the share of unknown clips below the same
    threshold. The area is the mean over pairs of [correct and known score < unknown score]; equal
    scores count half, as in the trapezoid rule.

    Args:
        known: Scores of clips of known classes, shape [K].
        right: Whether each of them is classified correctly, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].

    Returns:
        A value from 0 to the accuracy on the known clips; None if there are no known or no unknown
        clips.
    """
    if not len(known) or not len(unknown):
        return None
    sorted_right = np.sort(np.asarray(known)[right])
    below = np.searchsorted(sorted_right, unknown, side="left")
    up_to = np.searchsorted(sorted_right, unknown, side="right")
    return float((below + up_to).sum() / (2.0 * len(known) * len(unknown)))


def open_set(known: Floats, right: Bools, unknown: Floats) -> dict[str, float | None]:
    """All metrics of `DEFINITIONS` in percent; None if there are no known or no unknown clips.

    Args:
        known: Scores of clips of known classes, shape [K].
        right: Whether each of them is classified correctly, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].
    """
    values = {
        "auroc": auroc(known, unknown),
        "fpr95": fpr_at_recall(known, unknown),
        "oscr": oscr(known, right, unknown),
    }
    return {name: None if x is None else 100.0 * x for name, x in values.items()}


def is_known(
    labels: list[tuple[str, ...]], classes: tuple[str, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of the clips with known labels only, and rows of those with unknown labels only.

    A clip with a known and an unknown label is in neither.
    """
    seen = set(classes)
    inside = [seen.issuperset(names) for names in labels]
    outside = [seen.isdisjoint(names) for names in labels]
    return np.flatnonzero(inside), np.flatnonzero(outside)


def answered_right(
    scores: Floats, labels: list[tuple[str, ...]], classes: tuple[str, ...]
) -> Bools:
    """Whether the arg-max of each clip's scores [N, C] is one of its labels, bool, shape [N]."""
    answers = np.asarray(scores).argmax(axis=1)
    pairs = zip(answers, labels, strict=True)
    return np.array([classes[c] in names for c, names in pairs], dtype=np.bool_)


def open_set_after(predictions: Predictions, task: int, modality: str) -> dict[str, float | None]:
    """Open-set metrics after a task, with the unknown score that stored predictions allow.

    The unknown score is the negated highest class score. It ranks clips like 1 minus the highest
    probability.

    Args:
        predictions: Predictions of the run.
        task: Number of the task, from 0.
        modality: One of ``MODALITIES``.
    """
    return _after(predictions, task, _ClipClasses.of(predictions))[modality]


def summarise_open_set(predictions: Predictions) -> dict[str, list[dict[str, float | None]]]:
    """`open_set_after` for every task learned so far and each modality."""
    classes = _ClipClasses.of(predictions)
    steps = [_after(predictions, task, classes) for task in range(predictions.num_tasks_done)]
    return {modality: [step[modality] for step in steps] for modality in MODALITIES}


def summarise(predictions: Predictions) -> dict[str, dict[str, float | None]]:
    """The metrics of `RUN_DEFINITIONS` for every modality; None where they are not defined."""
    steps = summarise_open_set(predictions)
    whole = predictions.num_tasks_done == len(predictions.task_sizes)
    result: dict[str, dict[str, float | None]] = {}
    for modality in MODALITIES:
        found: dict[str, float | None] = {}
        for name in DEFINITIONS:
            known = [x for step in steps[modality] if (x := step[name]) is not None]
            found[name] = float(np.mean(known)) if known else None
            found[f"{name}_last"] = steps[modality][-1][name] if whole else None
        result[modality] = {name: found[name] for name in RUN_DEFINITIONS}
    return result


def num_unknown(predictions: Predictions) -> list[int]:
    """Number of clips of classes not learned yet, after each task learned."""
    classes = _ClipClasses.of(predictions)
    return [
        int((classes.first >= predictions.num_seen(task)).sum())
        for task in range(predictions.num_tasks_done)
    ]


@dataclass(frozen=True, kw_only=True)
class _ClipClasses:
    """The classes of a run that the clips are labelled with.

    Attributes:
        targets: Multi-hot labels, bool, shape [N, C].
        first: Index of each clip's earliest class in the order of learning, shape [N]; C for a
            class that is never learned.
        last: Index of its latest class, shape [N].
    """

    targets: Bools
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]

    @classmethod
    def of(cls, predictions: Predictions) -> _ClipClasses:
        never = len(predictions.class_names)
        place = {name: c for c, name in enumerate(predictions.class_names)}
        places = [[place.get(name, never) for name in names] for names in predictions.labels]
        return cls(
            targets=class_targets(predictions),
            first=np.array([min(some, default=never) for some in places], dtype=np.int64),
            last=np.array([max(some, default=never) for some in places], dtype=np.int64),
        )


def _after(
    predictions: Predictions, task: int, classes: _ClipClasses
) -> dict[str, dict[str, float | None]]:
    """`open_set` of every modality after a task (from 0)."""
    num_seen = predictions.num_seen(task)
    known, unknown = classes.last < num_seen, classes.first >= num_seen
    result = {}
    for modality in MODALITIES:
        scores = predictions.scores[task][modality]
        right = classes.targets[np.arange(len(scores)), scores.argmax(axis=1)]
        score = -scores.max(axis=1)
        result[modality] = open_set(score[known], right[known], score[unknown])
    return result


@register_metrics("open_set")
class OpenSet(MetricGroup):
    """Detection of unknown classes by the class scores."""

    title = "Open set: clips of unknown classes"
    position = 30
    definitions = RUN_DEFINITIONS

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        return dict(summarise(stored.predictions)) if stored.has_scores else {}
