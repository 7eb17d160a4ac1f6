"""A threshold for each class, chosen for a wanted precision or recall from left-out clips.

A clip with one label is assigned to its most probable class if that reaches the threshold of the
class; a clip with several labels is assigned to every class that reaches its threshold. The
probabilities are those of the learned clips by the solutions without their sources, so no other
clips are needed. That a threshold is chosen on the same clips as its precision and recall are
measured makes these a little optimistic, the more the fewer clips a class has.

The choice of a point on the curve of precision and recall is standard (Davis and Goadrich, ICML
2006); to take the curve from leave-one-out probabilities is ours.

Legend: n clips, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cign.errors import InputError
from cign.inference.leave_one_out import LearnedPredictions
from cign.saved_model.class_thresholds import ClassThreshold, ClassThresholds
from cign.vocabulary import MODALITIES

DEFAULT_PRECISION = 0.9
MEASURES = ("precision", "recall")

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def wanted_of(precision: float | None, recall: float | None) -> tuple[str, float]:
    """What is wanted of each class, by name, and how much of it.

    Args:
        precision: Wanted precision, in (0, 1].
        recall: Wanted recall, in (0, 1].

    Returns:
        The one that is given; without any, precision `DEFAULT_PRECISION`.

    Raises:
        InputError: If both are given, or the value is out of range.
    """
    if precision is not None and recall is not None:
        raise InputError(
            "conflicting-options",
            "a threshold is chosen for a precision or a recall, not both: leave out one",
        )
    if precision is None and recall is None:
        precision = DEFAULT_PRECISION
    measure, value = ("recall", recall) if precision is None else ("precision", precision)
    assert value is not None
    if not 0 < value <= 1:  # also refuses NaN
        raise InputError(
            "bad-value", f"{measure} is {value}: it must be above 0 and at most 1, for example 0.9"
        )
    return measure, value


def choose_thresholds(
    predictions: LearnedPredictions,
    classes: tuple[str, ...],
    measure: str,
    wanted: float,
    *,
    multi_label: bool,
) -> ClassThresholds:
    """Choose the threshold of each class.

    Args:
        predictions: The learned clips, predicted without their sources.
        classes: The classes of the model.
        measure: See `wanted_of`.
        wanted: See `wanted_of`.
        multi_label: Whether clips may have several labels.
    """
    counted = predictions.is_counted
    targets = predictions.targets[counted]
    probabilities = predictions.probabilities()
    by_class: dict[str, dict[str, ClassThreshold]] = {name: {} for name in classes}
    for modality in MODALITIES:
        scores = probabilities[modality][counted]
        for c, name in enumerate(classes):
            can = np.ones(len(scores), bool) if multi_label else scores.argmax(axis=1) == c
            by_class[name][modality] = threshold_for(
                scores[:, c], targets[:, c], can, measure, wanted
            )
    return ClassThresholds(measure=measure, wanted=wanted, classes=by_class)


def threshold_for(
    scores: Floats, is_of_class: Flags, can_be_assigned: Flags, measure: str, wanted: float
) -> ClassThreshold:
    """Choose the threshold of one class.

    Args:
        scores: Probability of the class for each clip, shape [n].
        is_of_class: Whether the clip is of the class, shape [n].
        can_be_assigned: Whether the clip is assigned to the class if its probability reaches the
            threshold, shape [n].
        measure: ``precision``: the least threshold that reaches it, and thus the highest recall;
            ``recall``: the highest threshold that reaches it.
        wanted: Least precision or recall.

    Returns:
        The threshold, which is one of the scores. If none reaches what is wanted, that of the
        highest precision or recall; None if no clip of the class can be assigned to it.
    """
    number = int(is_of_class.sum())
    order = np.argsort(-scores[can_be_assigned], kind="stable")
    values, hits = scores[can_be_assigned][order], is_of_class[can_be_assigned][order]
    if number == 0 or not hits.any():
        return ClassThreshold(
            threshold=None,
            precision=None,
            recall=0.0 if number else None,
            num_clips=number,
            is_reached=False,
        )
    # A threshold at a score assigns all clips of the same score.
    last = np.flatnonzero(np.append(np.diff(values) != 0, True))
    precision = hits.cumsum()[last] / (last + 1)
    recall = hits.cumsum()[last] / number
    curve = precision if measure == "precision" else recall
    reached = np.flatnonzero(curve >= wanted)
    if len(reached):
        at = int(reached[-1] if measure == "precision" else reached[0])
    else:  # of equal values that with the most clips, or the highest threshold
        best = np.flatnonzero(curve == curve.max())
        at = int(best[-1] if measure == "precision" else best[0])
    return ClassThreshold(
        threshold=float(values[last[at]]),
        precision=float(precision[at]),
        recall=float(recall[at]),
        num_clips=number,
        is_reached=bool(len(reached)),
    )
