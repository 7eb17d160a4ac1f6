"""Prediction of a closed-form method from the scores of clips in both modalities."""

from __future__ import annotations

from collections.abc import Mapping

from cign.methods.output import ByModality, Output, output_from_logits
from cign.methods.selection import Setting


def output_from_scores(
    scores: ByModality, settings: Mapping[str, Setting], *, multi_label: bool
) -> Output:
    """Soft-max of the scores, or sigmoids around 1/2; the audio-visual logits are the sums.

    Args:
        scores: Scores of clips, about 0..1, for ``audio`` and ``visual``, shape [B, C] each.
        settings: The selected setting of each modality.
        multi_label: Whether clips may have several labels.
    """
    logits = {}
    for modality, values in scores.items():
        if multi_label:
            values = values - 0.5  # a score of 1/2 has logit 0
        logits[modality] = values / settings[modality].temperature
    logits["audio_visual"] = logits["audio"] + logits["visual"]
    return output_from_logits(logits, multi_label=multi_label)
