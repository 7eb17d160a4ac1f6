"""Nearest class mean on frozen features.

Mensink et al., PAMI 2013, with Euclidean distances; SimpleCIL (Zhou et al., 2023) with cosine
similarities to the class means as prototypes. docs/methods/ncm.md lists what is ours.

Legend: B clips, C classes, D width of the features of a modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cign.errors import one_of
from cign.methods.base import Setup
from cign.methods.pooled import Pooled, PooledOptions, inverse_deviation
from cign.methods.registry import register_method
from cign.networks.class_sums import ClassSums
from cign.networks.token_ridge import with_columns, without_entry
from cign.utils.options import refuse_ignored
from cign.vocabulary import UNIMODAL

METRICS = ("cosine", "euclidean")


@dataclass(frozen=True, kw_only=True)
class NcmOptions(PooledOptions):
    """Options of `ncm`.

    Attributes:
        metric: ``cosine`` similarity (SimpleCIL) or squared ``euclidean`` distance (Mensink et al.)
            to the class means, the latter as a multiple of the variance of all clips.
        centre: Whether the mean of all clips is subtracted from features and class means before the
            cosine; ours.
        temperature: Divides similarities or distances before the soft-max; ours.
    """

    metric: Literal["cosine", "euclidean"] = "cosine"
    centre: bool = False
    temperature: float = 0.02

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        if self.metric not in METRICS:
            raise one_of(self.metric, METRICS, "metric")
        if self.metric == "euclidean":
            refuse_ignored(self, ("centre",), "metric euclidean", "use metric cosine")


class ClassMeans(nn.Module):
    """Class means of a modality in the coordinates in which clips are compared with them.

    Args:
        width: D.
        options: Options of the method.
        multi_label: Whether the means of the clips without each class are needed.
    """

    origin: Tensor
    scale: Tensor
    own: Tensor
    others: Tensor

    def __init__(self, width: int, options: NcmOptions, *, multi_label: bool) -> None:
        super().__init__()
        self.options, self.multi_label = options, multi_label
        self.register_buffer("origin", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("own", torch.zeros(width, 0))
        self.register_buffer("others", torch.zeros(width, 0))

    def grow(self, num_new: int) -> None:
        """Add columns of zeros, which `solve` fills."""
        self.own = with_columns(self.own, num_new)
        if self.multi_label:
            self.others = with_columns(self.others, num_new)

    def remove(self, index: int) -> None:
        """Remove the columns of a class."""
        self.own = without_entry(self.own, index)
        if self.multi_label:
            self.others = without_entry(self.others, index)

    def solve(self, sums: ClassSums) -> None:
        """Compute the means; a class without clips has the mean of all clips."""
        origin, scale = sums.mean, sums.mean.new_ones(())
        if self.options.metric == "euclidean":
            scale = inverse_deviation(sums.variance, sums.square)
        elif not self.options.centre:
            origin = torch.zeros_like(origin)
        self.origin, self.scale = origin.to(self.origin), scale.to(self.scale)
        self.own = self._coordinates(sums.means, sums.counts > 0, origin, scale)
        if self.multi_label:
            self.others = self._coordinates(sums.other_means, sums.other_counts > 0, origin, scale)

    def _coordinates(self, means: Tensor, known: Tensor, origin: Tensor, scale: Tensor) -> Tensor:
        """Columns [D, C] in the coordinates of `coordinates`."""
        columns = torch.where(known, (means - origin.unsqueeze(1)) * scale, 0.0)
        if self.options.metric == "cosine":
            columns = normalize(columns, dim=0)
        return columns.to(self.own).contiguous()

    def coordinates(self, features: Tensor) -> Tensor:
        """Features relative to the origin, of length 1 for cosines, shape [B, D]."""
        x = (features - self.origin) * self.scale
        return normalize(x, dim=1) if self.options.metric == "cosine" else x

    def similarity(self, x: Tensor, means: Tensor) -> Tensor:
        """Cosine, or negative squared distance, shape [B, C].

        Args:
            x: `coordinates`, shape [B, D].
            means: ``own`` or ``others``, shape [D, C].
        """
        products = x @ means
        if self.options.metric == "cosine":
            return products
        return 2.0 * products - x.square().sum(dim=1, keepdim=True) - means.square().sum(dim=0)


@register_method("ncm")
class Ncm(Pooled):
    """Classifies a clip by the nearest mean of the clips of a class.

    With several labels per clip, a class's score is how much nearer the clip is to the mean of its
    clips than to the mean of the clips without it (ours).
    """

    Options: ClassVar[type] = NcmOptions
    options: NcmOptions
    summed: ClassVar[tuple[str, ...]] = UNIMODAL

    def __init__(self, setup: Setup, options: NcmOptions) -> None:
        super().__init__(setup, options)
        self.means = nn.ModuleDict(
            {
                modality: ClassMeans(self.dims[modality], options, multi_label=setup.multi_label)
                for modality in UNIMODAL
            }
        )

    def means_of(self, modality: str) -> ClassMeans:
        """The class means of ``audio`` or ``visual``."""
        found = self.means[modality]
        assert isinstance(found, ClassMeans)
        return found

    def grow(self, num_new: int) -> None:
        """See `Pooled`."""
        for modality in UNIMODAL:
            self.means_of(modality).grow(num_new)
        super().grow(num_new)

    def solve_sums(self) -> None:
        """Compute the class means."""
        for modality in UNIMODAL:
            self.means_of(modality).solve(self.sums(modality))

    def remove_class(self, index: int) -> None:
        """Remove a class; exact if clips have one label each.

        Args:
            index: Index of the class in the order of learning.
        """
        super().remove_class(index)
        for modality in UNIMODAL:
            self.means_of(modality).remove(index)
        self.solve()

    def has_clips(self, modality: str) -> Tensor:
        """See `Pooled`; for both modalities, a class needs clips in one of them."""
        if modality == "audio_visual":
            return self.has_clips("audio") | self.has_clips("visual")
        return super().has_clips(modality)

    def scores(self, modality: str, features: Tensor) -> Tensor:
        """See `Pooled`; audio-visual features are those of both modalities side by side.

        Each has length 1 (cosine) or variance 1 (euclidean), so that neither dominates. Their
        cosine is then the mean of both, and their squared distance the sum, which is halved here.
        """
        if modality == "audio_visual":
            audio, visual = features.split([self.dims[name] for name in UNIMODAL], dim=1)
            return 0.5 * (self.scores("audio", audio) + self.scores("visual", visual))
        means = self.means_of(modality)
        x = means.coordinates(features)
        found = means.similarity(x, means.own)
        if not self.setup.multi_label:
            return found
        found = found - means.similarity(x, means.others)
        # Without clips of other classes there is nothing to compare with.
        return torch.where(self.sums(modality).other_counts > 0, found, 0.0)
