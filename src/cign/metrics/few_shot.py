"""Accuracy on base and on few-shot classes, and their harmonic mean.

The harmonic mean is low if one of the two is low, which the accuracy over all clips hides where the
base task has most of them (Xian et al., CVPR 2017, for generalised zero-shot learning; usual for
few-shot class-incremental learning too).
"""

from __future__ import annotations

import numpy as np

from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.metrics.incremental import (
    clip_tasks,
    is_multi_label,
    mean_average_precision,
    predicted_is_right,
)
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

DEFINITIONS: dict[str, str] = {
    "base": "accuracy on the test clips of the base task after the last task, arg-max over all "
    "classes",
    "new": "the same on the test clips of all later tasks",
    "harmonic_mean": "2 base new / (base + new); 0 if both are 0",
}


def harmonic_mean(a: float | None, b: float | None) -> float | None:
    """2 a b / (a + b); 0 if both are 0, None if one is None."""
    if a is None or b is None:
        return None
    return 0.0 if a + b == 0.0 else 2.0 * a * b / (a + b)


def summarise(predictions: Predictions) -> dict[str, dict[str, float | None]]:
    """Compute the metrics of `DEFINITIONS` in percent.

    With several labels, accuracies are mean average precisions over the base or the new classes.

    Args:
        predictions: Predictions of a run whose first task is the base task.

    Returns:
        modality -> name -> percent; None without test clips, or before all tasks are learned.
    """
    last = len(predictions.task_sizes) - 1
    if predictions.num_tasks_done <= last or last == 0:
        return {modality: dict.fromkeys(DEFINITIONS) for modality in MODALITIES}
    result: dict[str, dict[str, float | None]] = {}
    tasks_N, num_base = clip_tasks(predictions), predictions.task_sizes[0]
    for modality in MODALITIES:
        if is_multi_label(predictions):
            parts = [
                mean_average_precision(predictions, modality, last, classes)
                for classes in (slice(0, num_base), slice(num_base, None))
            ]
        else:
            right_N = predicted_is_right(predictions, last, modality)
            groups = (right_N[tasks_N == 0], right_N[tasks_N > 0])
            parts = [float(some.mean()) if len(some) else float("nan") for some in groups]
        base, new = (None if np.isnan(value) else 100.0 * value for value in parts)
        result[modality] = {"base": base, "new": new, "harmonic_mean": harmonic_mean(base, new)}
    return result


@register_metrics("fewshot")
class FewShot(MetricGroup):
    """Base and new classes of a run with stream fewshot."""

    title = "Few-shot classes, after the last task"
    position = 15
    definitions = DEFINITIONS

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        return dict(summarise(stored.predictions)) if stored.stream == "fewshot" else {}
