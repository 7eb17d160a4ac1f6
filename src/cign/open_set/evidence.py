"""Evidence for unknown scores: a method's output, leverage, distances to classes.

Leverage is computed from the Gram matrix of closed-form methods; other methods provide only
probabilities.

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

# Our choice: ridge of the within-class scatter, whose rank is below the number of features.
SCATTER_RIDGE = 1000.0


@dataclass(kw_only=True)
class Evidence:
    """Evidence of a batch, for each modality.

    Attributes:
        output: Output of the method.
        leverage: See `Leverage`, shape [B]; the audio-visual value is the sum of both modalities.
        distance: Squared Mahalanobis distance to the nearest class, shape [B]; empty unless
            requested.
    """

    output: Output
    leverage: ByModality = field(default_factory=dict)
    distance: ByModality = field(default_factory=dict)

    @property
    def probabilities(self) -> ByModality:
        """Probabilities from `Method.predict`, shape [B, C]."""
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
        with_distance: Whether to compute Mahalanobis distances, if the method provides theirs.
    """

    def __init__(
        self, method: Method, *, with_leverage: bool = True, with_distance: bool = False
    ) -> None:
        self.method = method
        self.with_leverage = with_leverage and self.has_statistics
        self.with_distance = with_distance and self.has_distance

    @property
    def has_statistics(self) -> bool:
        """Whether the method has Gram matrices."""
        return sums_over_clips(self.method) is not None

    @property
    def has_distance(self) -> bool:
        """Whether class means can be computed from the method's statistics."""
        return class_sums(self.method) is not None and not self.method.setup.multi_label

    @torch.no_grad()
    def read(self, audio: Tensor, visual: Tensor) -> Evidence:
        """Evidence of a batch; arguments as for `Method.predict`."""
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
        """The requested leverage and distance functions, by name and modality."""
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
