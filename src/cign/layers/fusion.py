"""Fusion of the predictions from audio and from visual tokens into one.

Legend: B clips, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cign.errors import InputError, one_of
from cign.utils.options import refuse_ignored
from cign.vocabulary import UNIMODAL

KINDS = ("own", "mean", "product")
_LEAST = 1e-38  # probabilities below would have no finite logarithm in float32


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the audio-visual prediction is made; ours, the same choices for every method.

    Scores are logarithms of probabilities, or log-odds if clips may have several labels.

    Attributes:
        kind: ``own``: the method's own audio-visual prediction; ``mean``: the mean of both
            modalities' probabilities at the temperature; ``product``: their normalised product,
            with several labels the probabilities of added log-odds.
        temperature: Divides the scores of each modality.
    """

    kind: Literal["own", "mean", "product"] = "own"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Reject invalid values and a temperature that would be ignored."""
        if self.kind not in KINDS:
            raise one_of(self.kind, KINDS, "fusion.kind")
        if not 0.0 < self.temperature < math.inf:
            raise InputError(
                "bad-value", f"fusion.temperature {self.temperature} is not positive: use 1, say"
            )
        if self.kind == "own":
            refuse_ignored(self, ("temperature",), "fusion own", "use fusion mean or product")


def fuse(scores: Mapping[str, Tensor], fusion: Fusion, *, multi_label: bool) -> Tensor:
    """Audio-visual probabilities from the scores of both modalities, shape [B, C].

    Args:
        scores: For ``audio`` and ``visual``, shape [B, C]: see `scores_of`, or logits.
        fusion: Another kind than ``own``.
        multi_label: Whether clips may have several labels.
    """

    def probabilities(values: Tensor) -> Tensor:
        values = values / fusion.temperature
        return values.sigmoid() if multi_label else values.softmax(dim=-1)

    if fusion.kind == "mean":
        return torch.stack([probabilities(scores[name]) for name in UNIMODAL]).mean(dim=0)
    if fusion.kind == "product":
        return probabilities(sum_of_scores(scores, multi_label=multi_label))
    raise ValueError("the own prediction of a method is not made of scores")


def sum_of_scores(scores: Mapping[str, Tensor], *, multi_label: bool) -> Tensor:
    """Added log-probabilities, or log-odds, of both modalities, shape [B, C]."""
    parts = [scores[name] for name in UNIMODAL]
    if not multi_label:
        parts = [part.log_softmax(dim=-1) for part in parts]
    return torch.stack(parts).sum(dim=0)


def scores_of(probabilities: Tensor, *, multi_label: bool) -> Tensor:
    """Scores that `fuse` takes, from probabilities of any shape."""
    p = probabilities.float().clamp_min(_LEAST)
    return torch.logit(p, eps=1e-7) if multi_label else p.log()
