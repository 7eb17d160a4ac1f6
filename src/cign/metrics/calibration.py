"""Calibration metrics: confidence compared with accuracy.

They are defined only for scores that are probabilities: rows that sum to 1 (a soft-max) or one
independent value in [0, 1] per class (a sigmoid, or a product of two). The scores are not
normalised, because users of the method see them unnormalised. Other scores have no calibration.

Legend: P pairs of a confidence and whether the prediction was correct; M bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cign.metrics.catalogue import MetricGroup, Numbers, Stored, register_metrics
from cign.metrics.incremental import class_targets, is_multi_label
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

NUM_BINS = 15
_SUM_TOLERANCE = 1e-3

DEFINITIONS: dict[str, str] = {
    "ece": f"expected calibration error: {NUM_BINS} equal-width bins of confidence; sum over bins "
    "of (clips in bin / clips) * |accuracy - mean confidence| (Guo 2017); confidence = score of "
    "the arg-max after the last task, as the method outputs it; if clips have several labels, "
    "the probability of every class counts as one confidence",
    "adaptive_ece": f"the same over {NUM_BINS} bins with equal numbers of clips, sorted by "
    "confidence (Nguyen & O'Connor 2015); clips of equal confidence share their mean accuracy",
    "brier": "mean over clips of sum over the classes seen of (probability - 1[label])^2, 0..2 "
    "for a soft-max (Brier 1950)",
}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bin of a reliability table.

    Attributes:
        low: Lower edge, exclusive; the first bin includes 0.
        high: Upper edge, inclusive.
        count: Number of confidences in the bin.
        confidence: Their mean; None for an empty bin.
        accuracy: Share of them that are correct; None for an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def kind_of_scores(scores_NC: npt.NDArray[np.floating[Any]]) -> str | None:
    """Classify scores: "distribution" (rows sum to 1), "independent" (each in [0, 1]) or None."""
    if not np.isfinite(scores_NC).all() or (scores_NC < 0).any() or (scores_NC > 1 + 1e-6).any():
        return None
    sums = scores_NC.sum(axis=1, dtype=np.float64)
    return "distribution" if (np.abs(sums - 1) <= _SUM_TOLERANCE).all() else "independent"


def reliability(
    confidences_P: Floats, right_P: npt.NDArray[Any], num_bins: int = NUM_BINS
) -> list[Bin]:
    """The reliability table: equal-width bins of confidence.

    Args:
        confidences_P: In [0, 1].
        right_P: Whether each prediction was correct, or its share that was correct.
        num_bins: M.
    """
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    bin_P = np.digitize(confidences_P, edges[1:-1], right=True)
    counts = np.bincount(bin_P, minlength=num_bins)
    confidence_sums = np.bincount(bin_P, weights=confidences_P, minlength=num_bins)
    right_P = np.asarray(right_P, dtype=np.float64)
    right_sums = np.bincount(bin_P, weights=right_P, minlength=num_bins)
    return [
        Bin(
            low=float(edges[m]),
            high=float(edges[m + 1]),
            count=int(counts[m]),
            confidence=float(confidence_sums[m] / counts[m]) if counts[m] else None,
            accuracy=float(right_sums[m] / counts[m]) if counts[m] else None,
        )
        for m in range(num_bins)
    ]


def expected_error(bins: list[Bin]) -> float | None:
    """ECE of a reliability table, in [0, 1]; None if it is empty (Guo et al. 2017, eq. 3)."""
    total = sum(one.count for one in bins)
    gaps = (
        one.count * abs(one.accuracy - one.confidence)
        for one in bins
        if one.accuracy is not None and one.confidence is not None
    )
    return sum(gaps) / total if total else None


def adaptive_error(
    confidences_P: Floats, right_P: npt.NDArray[Any], num_bins: int = NUM_BINS
) -> float | None:
    """ECE over bins with equal numbers of confidences (Nguyen & O'Connor 2015); None without any.

    Equal confidences share their mean accuracy, so that the order of the clips does not matter.
    """
    if len(confidences_P) == 0:
        return None
    _, group_P, counts = np.unique(confidences_P, return_inverse=True, return_counts=True)
    means = np.bincount(group_P, weights=np.asarray(right_P, dtype=np.float64)) / counts
    order = np.argsort(confidences_P, kind="stable")
    parts = np.array_split(order, min(num_bins, len(order)))
    gaps = [abs(means[group_P[part]].sum() - confidences_P[part].sum()) for part in parts]
    return float(sum(gaps) / len(order))


def brier_score(scores_NC: Floats, targets_NC: npt.NDArray[np.bool_]) -> float | None:
    """Mean over clips of the sum over classes of squared errors; None without clips."""
    if len(scores_NC) == 0:
        return None
    return float(((scores_NC - targets_NC) ** 2).sum(axis=1).mean())


def confidence_pairs(
    predictions: Predictions, modality: str
) -> tuple[Floats, npt.NDArray[np.bool_]] | None:
    """Confidences after the last task and their correctness, for clips of the classes seen.

    Returns:
        Two arrays of length P: one pair per clip, or one pair per clip and class if clips have
        several labels. None before the first task and if the scores are not probabilities.
    """
    found = _probabilities(predictions, modality)
    if found is None:
        return None
    scores_NC, targets_NC = found
    if is_multi_label(predictions):
        return scores_NC.ravel(), targets_NC.ravel()
    chosen_N = scores_NC.argmax(axis=1)
    rows_N = np.arange(len(scores_NC))
    return np.minimum(scores_NC[rows_N, chosen_N], 1.0), targets_NC[rows_N, chosen_N]


def summarise(predictions: Predictions) -> dict[str, dict[str, float | None]]:
    """ECE and adaptive ECE in percent, Brier score; None if scores are not probabilities."""
    result: dict[str, dict[str, float | None]] = {}
    for modality in MODALITIES:
        pairs = confidence_pairs(predictions, modality)
        found = _probabilities(predictions, modality)
        if pairs is None or found is None:
            result[modality] = dict.fromkeys(DEFINITIONS)
            continue
        ece, adaptive = expected_error(reliability(*pairs)), adaptive_error(*pairs)
        result[modality] = {
            "ece": None if ece is None else 100.0 * ece,
            "adaptive_ece": None if adaptive is None else 100.0 * adaptive,
            "brier": brier_score(*found),
        }
    return result


def tables(predictions: Predictions) -> dict[str, list[dict[str, Any]] | None]:
    """The reliability table of each modality as plain values; None without probabilities."""
    pairs = {modality: confidence_pairs(predictions, modality) for modality in MODALITIES}
    return {
        modality: None if pair is None else [asdict(one) for one in reliability(*pair)]
        for modality, pair in pairs.items()
    }


def _probabilities(
    predictions: Predictions, modality: str
) -> tuple[Floats, npt.NDArray[np.bool_]] | None:
    """Probabilities and targets after the last task for clips of the classes seen, or None."""
    last = predictions.num_tasks_done - 1
    if last < 0 or kind_of_scores(predictions.scores[last][modality]) is None:
        return None
    targets_NC = class_targets(predictions)[:, : predictions.num_seen(last)]
    rows_N = targets_NC.any(axis=1)
    return predictions.scores[last][modality][rows_N].astype(np.float64), targets_NC[rows_N]


@register_metrics("calibration")
class Calibration(MetricGroup):
    """Confidence compared with accuracy."""

    title = "Calibration, after the last task"
    position = 50
    definitions = DEFINITIONS
    decimals: ClassVar[Mapping[str, int]] = {"brier": 3}

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        return dict(summarise(stored.predictions)) if stored.has_scores else {}
