"""Why a clip is called unknown, as text. This module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

# One entry per part of an unknown score (`cign.open_set.rule.PARTS`).
_WORDS = {
    "max_probability": "no class is probable",
    "max_logit": "no class has a high score before normalisation",
    "margin": "no class stands out from the others",
    "leverage": "its features are far from those of all training clips",
}


def why_unknown(evidence: Mapping[str, float], probability: float, threshold: float) -> str:
    """Name the decisive evidence.

    Probabilities only compare the known classes with each other. A clip unlike all of them may
    therefore have a class with probability 1 and still an unknown score above the threshold.

    Args:
        evidence: The parts whose mean is the unknown score, each in standard deviations above the
            mean of the validation clips; empty for the score ``max_probability``.
        probability: Probability of the most probable class.
        threshold: Threshold of the unknown score, 0..1.

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
    score = 1 / (1 + math.exp(-sum(evidence.values()) / len(evidence)))
    return (
        f"{_WORDS[decisive]} ({decisive} {abs(value):.1f} standard deviations {side} the mean of "
        f"validation clips; unknown score {score:.3f}, threshold {threshold:.3f})"
    )
