"""Accuracy of an online stream over the clips seen, and the area under it.

The area follows Koh et al. (ICLR 2022): the accuracy after each interval of clips, times its
length, summed. Dividing by the number of clips makes it a percentage (ours).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.metrics.incremental import average_precisions, class_targets, is_multi_label
from cign.metrics.predictions import Predictions, Scores
from cign.vocabulary import MODALITIES

DEFINITIONS: dict[str, str] = {
    "auc_online": "sum over evaluations i of A(n_i) (n_i - n_(i-1)) / n_last, n_0 = 0, where A(n) "
    "is the accuracy after n clips on the test clips of the classes seen by then, arg-max over "
    "these classes (after Koh et al. 2022)",
}


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """An evaluation of an online stream.

    Attributes:
        task: Number of the task that is being learned or was just learned, from 1.
        num_clips: Number of training clips learned so far, n.
        num_classes: Number of classes of these clips.
        percent: Accuracy, or mean average precision, by modality; None without test clips.
    """

    task: int
    num_clips: int
    num_classes: int
    percent: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**values)


def percent_of_seen(
    predictions: Predictions,
    rows: npt.NDArray[np.int64],
    scores: Scores,
    seen: npt.NDArray[np.int64],
) -> dict[str, float | None]:
    """Accuracy of some clips with the arg-max over the classes seen, in percent by modality.

    Args:
        predictions: Classes and labels of the run.
        rows: Clips to count, each with a class seen, shape [n].
        scores: Scores of these clips, [n, C_known] for each modality.
        seen: Indices of the classes seen, ascending, shape [C].

    Returns:
        Mean average precision over the classes seen if clips have several labels; None without
        clips.
    """
    if len(rows) == 0:
        return dict.fromkeys(MODALITIES)
    targets = class_targets(predictions)[rows][:, seen]
    result: dict[str, float | None] = {}
    for modality in MODALITIES:
        of_seen = scores[modality][:, seen]
        if is_multi_label(predictions):
            each = average_precisions(of_seen, targets)
            result[modality] = 100.0 * float(each[~np.isnan(each)].mean())
        else:
            chosen = of_seen.argmax(axis=1)
            result[modality] = 100.0 * float(targets[np.arange(len(rows)), chosen].mean())
    return result


def area(points: Sequence[CurvePoint], modality: str) -> float | None:
    """Area under the curve of a modality, in percent; None where an accuracy is missing."""
    total, before = 0.0, 0
    for point in points:
        value = point.percent[modality]
        if value is None:
            return None
        total += value * (point.num_clips - before)
        before = point.num_clips
    return total / before if before else None


def summarise(points: Sequence[CurvePoint]) -> dict[str, dict[str, float | None]]:
    """The metrics of `DEFINITIONS` by modality, over the clips learned so far."""
    return {modality: {"auc_online": area(points, modality)} for modality in MODALITIES}


@register_metrics("online")
class OnlineAccuracy(MetricGroup):
    """Accuracy at any time of a run with stream online."""

    title = "Accuracy at any time"
    position = 15
    definitions = DEFINITIONS

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        points = [CurvePoint.from_dict(one) for one in stored.curve]
        return dict(summarise(points)) if points else {}
