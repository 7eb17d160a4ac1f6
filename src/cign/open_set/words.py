"""Why a clip is called unknown, in words. Nothing here imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

# One entry for each part of an unknown score (`cign.open_set.rule.PARTS`).
_WORDS = {
    "max_probability": "no class is probable",
    "max_logit": "no class has a high score before normalisation",
    "margin": "no class stands out above the others",
    "energy": "the classes have low scores together",
    "joint_energy": "the classes have low scores together",
    "disagreement": "the audio and the visual prediction disagree",
    "leverage": "its features lie far from those of all training clips",
    "mahalanobis": "its features lie far from the mean of every class",
}


def why_unknown(evidence: Mapping[str, float], probability: float, threshold: float) -> str:
    """Name the evidence that decided.

    A probability compares the known classes with each other, so that a clip unlike all of them may
    have a class with probability 1 and an unknown score above the threshold.

    Args:
        evidence: What the unknown score is the mean of, each in standard deviations above the mean
            of the validation clips; empty for the score ``max_probability``.
        probability: Of the most probable class.
        threshold: Of the unknown score, 0..1.

    Returns:
        A clause without a full stop.
    """
    if not evidence:
        return (
            f"its highest probability, {probability:.2f}, is below {1 - threshold:.2f}, which is 1 "
            "minus the unknown threshold"
        )
    decisive, value = max(evidence.items(), key=lambda item: item[1])
    side = "above" if value >= 0 else "below"
    text = f"{_WORDS[decisive]} ({decisive} {_deviations(abs(value))} {side} the mean of validation"
    if len(evidence) == 1:
        return f"{text} clips)"
    mean = sum(evidence.values()) / len(evidence)
    limit = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else math.nan
    return f"{text} clips; mean of {len(evidence)} such values {mean:.1f}, threshold {limit:.1f})"


def _deviations(value: float) -> str:
    return f"{value:.1f} standard deviations"
