"""The prediction of a method."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from cign.layers.fusion import Fusion, fuse, scores_of
from cign.vocabulary import UNIMODAL

ByModality = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Prediction of a method for a batch.

    It is the only interface used by prediction on files, evaluation, unknown scores, localisation
    maps and export.

    Attributes:
        probabilities: Probabilities of the classes seen for ``audio``, ``visual`` and
            ``audio_visual``, shape [B, C].
        logits: Logits that the probabilities were computed from, by modality, shape [B, C]; empty
            if the method has no logits.
        assignment: Assignment of tokens to classes for ``audio`` [B, N_a, C] and ``visual``
            [B, N_v, C]; empty if the method assigns no tokens.
        features: For ``audio`` and ``visual``, the rows [B, W] from which a closed-form method sums
            its Gram matrices; empty for all other methods.
    """

    probabilities: ByModality
    logits: ByModality = field(default_factory=dict)
    assignment: ByModality = field(default_factory=dict)
    features: ByModality = field(default_factory=dict)


def output_from_logits(logits: ByModality, *, multi_label: bool = False) -> Output:
    """Probabilities by soft-max, or by a sigmoid per class if clips have several labels.

    Args:
        logits: Logits by modality, shape [B, C].
        multi_label: Whether clips may have several labels.
    """
    if multi_label:
        probabilities = {name: values.sigmoid() for name, values in logits.items()}
    else:
        probabilities = {name: values.softmax(dim=-1) for name, values in logits.items()}
    return Output(probabilities=probabilities, logits=logits)


def with_fusion(output: Output, fusion: Fusion, *, multi_label: bool) -> Output:
    """The output with another audio-visual prediction, see `Fusion`."""
    if fusion.kind == "own":
        return output
    scores = {
        name: output.logits[name]
        if name in output.logits
        else scores_of(output.probabilities[name], multi_label=multi_label)
        for name in UNIMODAL
    }
    fused = fuse(scores, fusion, multi_label=multi_label)
    logits = dict(output.logits)
    if logits:
        logits["audio_visual"] = scores_of(fused, multi_label=multi_label)
    probabilities = {**output.probabilities, "audio_visual": fused}
    return replace(output, probabilities=probabilities, logits=logits)
