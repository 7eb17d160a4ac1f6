"""Evidence for unknown scores: a method's output and leverage.

Leverage is computed from the Gram matrix of closed-form methods; other methods provide only
probabilities.

Legend: B clips, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from cign.methods.base import Method
from cign.methods.capabilities import sums_over_clips
from cign.methods.output import ByModality, Output
from cign.open_set.scores import Leverage
from cign.vocabulary import UNIMODAL


@dataclass(kw_only=True)
class Evidence:
    """Evidence of a batch, for each modality.

    Attributes:
        output: Output of the method.
        leverage: See `Leverage`, shape [B]; the audio-visual value is the sum of both modalities.
    """

    output: Output
    leverage: ByModality = field(default_factory=dict)

    @property
    def probabilities(self) -> ByModality:
        """Probabilities from `Method.forward`, shape [B, C]."""
        return self.output.probabilities

    @property
    def logits(self) -> ByModality:
        """Logits from which the probabilities were computed, shape [B, C]."""
        return self.output.logits


class EvidenceReader:
    """Computes evidence with a method; factorised matrices are cached between batches.

    Args:
        method: In evaluation mode; it must not be trained while the reader is used.
        with_leverage: Whether to compute leverage, if the method provides its statistics.
    """

    def __init__(self, method: Method, *, with_leverage: bool = True) -> None:
        self.method = method
        self.with_leverage = with_leverage and self.has_statistics

    @property
    def has_statistics(self) -> bool:
        """Whether the method has Gram matrices."""
        return sums_over_clips(self.method) is not None

    @torch.no_grad()
    def read(self, audio: Tensor, visual: Tensor) -> Evidence:
        """Evidence of a batch; arguments as for `Method.forward`."""
        output = self.method(audio, visual)
        leverage = {}
        if self.with_leverage:
            leverage = {name: self.leverage[name](output.features[name]) for name in UNIMODAL}
            leverage["audio_visual"] = leverage["audio"] + leverage["visual"]
        return Evidence(output=output, leverage=leverage)

    @cached_property
    def leverage(self) -> dict[str, Leverage]:
        """The leverage of each modality's features; requires the method's statistics."""
        sums = sums_over_clips(self.method)
        assert sums is not None
        return {name: Leverage(sums.gram(name), sums.ridge_of(name)) for name in UNIMODAL}
