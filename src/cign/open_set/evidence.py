"""What unknown scores are computed from: a method's output, leverage, distances to classes.

Closed-form methods hold a Gram matrix, which leverage comes from; all others give probabilities
alone.

Legend: B clips, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from cign.methods.base import ByModality, Method, Output
from cign.methods.capabilities import class_sums, sums_over_clips
from cign.open_set.scores import Leverage, Mahalanobis
from cign.vocabulary import UNIMODAL

# Ours: of the scatter within classes, which has fewer directions than random features.
SCATTER_RIDGE = 1000.0


@dataclass(kw_only=True)
class Evidence:
    """Of a batch, for each modality.

    Attributes:
        output: What the method predicts.
        leverage: See `Leverage`, shape [B]; that of both modalities is their sum.
        distance: Squared Mahalanobis distance to the nearest class, shape [B]; empty unless asked
            for.
    """

    output: Output
    leverage: ByModality = field(default_factory=dict)
    distance: ByModality = field(default_factory=dict)

    @property
    def probabilities(self) -> ByModality:
        """As `Method.predict` gives them, shape [B, C]."""
        return self.output.probabilities

    @property
    def logits(self) -> ByModality:
        """What the probabilities were computed from, shape [B, C]."""
        return self.output.logits


class EvidenceReader:
    """Predicts clips by a method, with factorised matrices kept from one batch to the next.

    Args:
        method: In evaluation mode; it must not learn on while the reader is used.
        with_leverage: Whether leverage is wanted, where the method can give it.
        with_distance: Whether Mahalanobis distances are wanted, where the method can give them.
    """

    def __init__(
        self, method: Method, *, with_leverage: bool = True, with_distance: bool = False
    ) -> None:
        self.method = method
        self.with_leverage = with_leverage and self.has_statistics
        self.with_distance = with_distance and self.has_distance

    @property
    def has_statistics(self) -> bool:
        """Whether the method holds Gram matrices."""
        return sums_over_clips(self.method) is not None

    @property
    def has_distance(self) -> bool:
        """Whether class means follow from what the method holds."""
        return class_sums(self.method) is not None and not self.method.setup.multi_label

    @torch.no_grad()
    def read(self, audio: Tensor, visual: Tensor) -> Evidence:
        """Read a batch, given as `Method.predict` takes it."""
        output = self.method.predict(audio, visual)
        leverage, distance = {}, {}
        if self.with_leverage:
            leverage = {name: self._leverage[name](output.features[name]) for name in UNIMODAL}
            leverage["audio_visual"] = leverage["audio"] + leverage["visual"]
        if self.with_distance:
            apart = {name: self._mahalanobis[name](output.features[name]) for name in UNIMODAL}
            apart["audio_visual"] = apart["audio"] + apart["visual"]
            distance = {name: values.amin(dim=-1) for name, values in apart.items()}
        return Evidence(output=output, leverage=leverage, distance=distance)

    def measures(self) -> dict[str, Leverage | Mahalanobis]:
        """What is wanted of leverage and distance, by name and modality; made if need be."""
        found: dict[str, Leverage | Mahalanobis] = {}
        if self.with_leverage:
            found |= {f"leverage_{name}": one for name, one in self._leverage.items()}
        if self.with_distance:
            found |= {f"distance_{name}": one for name, one in self._mahalanobis.items()}
        return found

    @cached_property
    def _leverage(self) -> dict[str, Leverage]:
        sums = sums_over_clips(self.method)
        assert sums is not None
        return {name: Leverage(sums.gram(name), sums.ridge_of(name)) for name in UNIMODAL}

    @cached_property
    def _mahalanobis(self) -> dict[str, Mahalanobis]:
        sums = class_sums(self.method)
        assert sums is not None
        return {
            name: Mahalanobis(sums.gram(name), sums.cross(name), sums.class_clips, SCATTER_RIDGE)
            for name in UNIMODAL
        }
