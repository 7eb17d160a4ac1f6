"""Streaming linear discriminant analysis with one covariance for all classes.

Hayes & Kanan, CVPR Workshops 2020. Class means and the scatter within classes come from sums over
clips, so that they do not depend on the order or the batches of the clips, up to rounding.
docs/methods/slda.md lists what is ours.

Legend: B clips, C classes, D width of the features of a modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cign.errors import InputError, one_of
from cign.methods.base import Setup
from cign.methods.pooled import NEGLIGIBLE, Pooled, PooledOptions, inverse_deviation
from cign.methods.registry import register_method
from cign.networks.discriminant import one_against_rest, shared_covariance
from cign.networks.token_ridge import with_columns, without_entry
from cign.vocabulary import MODALITIES, UNIMODAL

PRIORS = ("none", "counts")


@dataclass(frozen=True, kw_only=True)
class SldaOptions(PooledOptions):
    """Options of `slda`.

    Attributes:
        shrinkage: s of the covariance (1 - s) S + s tr(S) / D I, in [0, 1]. The paper's epsilon is
            1e-4, with I in place of tr(S) / D I.
        prior: ``none`` as in the paper, or ``counts``, the logarithm of the share of each class in
            the clips, as in linear discriminant analysis.
        temperature: Divides the decision values before the soft-max; ours. With ``prior: counts``
            and 1, probabilities are those of the Gaussian model, which are far too certain with few
            clips for the dimensions.
    """

    shrinkage: float = 0.1
    prior: Literal["none", "counts"] = "none"
    temperature: float = 10.0

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        if not 0.0 <= self.shrinkage <= 1.0:
            raise InputError("bad-value", f"shrinkage {self.shrinkage} must be in [0, 1]")
        if self.prior not in PRIORS:
            raise one_of(self.prior, PRIORS, "prior")


class Discriminant(nn.Module):
    """Second moments of a modality, and the linear functions that score classes.

    Args:
        width: D.

    Attributes:
        moment: Sum of x x^T, from which the means are subtracted when solving.
        moment_count: Number of clips in it.
    """

    moment: Tensor
    moment_count: Tensor
    origin: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("moment", torch.zeros(width, width, dtype=torch.float64))
        self.register_buffer("moment_count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("origin", torch.zeros(width))
        self.register_buffer("weights", torch.zeros(width, 0))
        self.register_buffer("bias", torch.zeros(0))

    def grow(self, num_new: int) -> None:
        """Add columns of zeros, which the next solution fills."""
        self.weights = with_columns(self.weights, num_new)
        self.bias = with_columns(self.bias, num_new)

    def remove(self, index: int) -> None:
        """Remove the column of a class."""
        self.weights = without_entry(self.weights, index)
        self.bias = without_entry(self.bias, index)

    def absorb(self, rows: Tensor, has: Tensor) -> None:
        """Add clips.

        Args:
            rows: Shape [B, D]; zeros for clips that do not count.
            has: Which clips count, bool, shape [B].
        """
        rows = rows.to(self.moment)
        self.moment.addmm_(rows.T, rows)
        self.moment_count += has.sum()

    def scores(self, features: Tensor) -> Tensor:
        """Decision values of clips, shape [B, C]."""
        return (features - self.origin) @ self.weights + self.bias


@register_method("slda")
class Slda(Pooled):
    """Linear discriminant analysis from class means and one covariance within classes.

    With several labels per clip, each class is discriminated from the clips without it (ours).
    """

    Options: ClassVar[type] = SldaOptions
    options: SldaOptions
    sums_over_clips: ClassVar[frozenset[str]] = Pooled.sums_over_clips | {"moment", "moment_count"}

    def __init__(self, setup: Setup, options: SldaOptions) -> None:
        super().__init__(setup, options)
        self.discriminants = nn.ModuleDict(
            {modality: Discriminant(self.dims[modality]) for modality in MODALITIES}
        )

    def of(self, modality: str) -> Discriminant:
        """Second moments and solution of a modality."""
        found = self.discriminants[modality]
        assert isinstance(found, Discriminant)
        return found

    def grow(self, num_new: int) -> None:
        """See `Pooled`."""
        for modality in MODALITIES:
            self.of(modality).grow(num_new)
        super().grow(num_new)

    def absorb_rows(self, modality: str, rows: Tensor, has: Tensor, targets: Tensor) -> None:
        """See `Pooled`."""
        super().absorb_rows(modality, rows, has, targets)
        self.of(modality).absorb(rows, has)

    def remove_class(self, index: int) -> None:
        """Remove a class; its clips stay in the covariance, around their own mean.

        Args:
            index: Index of the class in the order of learning.
        """
        for modality in MODALITIES:
            one, sums = self.of(modality), self.sums(modality)
            if not self.setup.multi_label:
                total, mean = sums.sums[:, index], sums.means[:, index]
                one.moment = one.moment - torch.outer(total, mean)
            one.remove(index)
        super().remove_class(index)
        self.solve()

    def covariance(self, modality: str) -> tuple[Tensor, Tensor]:
        """Covariance within classes, or of all clips if they have several labels.

        Args:
            modality: One of `MODALITIES`.

        Returns:
            The covariance of the scaled features, shape [D, D], and their scales, shape [D]. Scales
            are 1 for a single modality. For both, each modality is divided by the root of its mean
            variance, so that shrinkage treats them alike (ours).
        """
        one, sums = self.of(modality), self.sums(modality)
        number = one.moment_count.clamp(min=1.0)
        if self.setup.multi_label:
            between = torch.outer(sums.mean, sums.mean) * sums.total_count
        else:
            between = sums.sums @ sums.means.T
        covariance = (one.moment - between) / number
        names = UNIMODAL if modality == "audio_visual" else (modality,)
        sizes = [self.dims[name] for name in names]
        scales, varies = [], []
        for variances, squares in zip(
            covariance.diagonal().split(sizes), one.moment.diagonal().split(sizes), strict=True
        ):
            variance, square = variances.mean(), squares.mean() / number
            scale = inverse_deviation(variance, square) if len(names) > 1 else square.new_ones(())
            scales.append(scale.expand_as(variances))
            varies.append((variance > NEGLIGIBLE * square).expand_as(variances))
        factors = torch.cat(scales) * torch.cat(varies)  # 0 for what is only rounding
        return covariance * torch.outer(factors, factors), torch.cat(scales)

    def solve_sums(self) -> None:
        """Compute the linear functions of all modalities."""
        solved = {modality: self._solution(modality) for modality in MODALITIES}
        for modality, (weights, bias) in solved.items():
            one = self.of(modality)
            one.origin = self.sums(modality).mean.to(one.origin)
            one.weights = weights.to(one.weights).contiguous()
            one.bias = bias.to(one.bias)

    def _solution(self, modality: str) -> tuple[Tensor, Tensor]:
        """Weights [D, C] and bias [C] of features relative to the mean of all clips."""
        sums = self.sums(modality)
        covariance, scales = self.covariance(modality)
        means, others = (
            torch.where(counts > 0, (columns - sums.mean[:, None]) * scales[:, None], 0.0)
            for columns, counts in (
                (sums.means, sums.counts),
                (sums.other_means, sums.other_counts),
            )
        )
        shrinkage, what = self.options.shrinkage, f"modality {modality}"
        if self.setup.multi_label:
            shares = sums.counts / sums.total_count.clamp(min=1.0)
            weights, bias = one_against_rest(means, others, shares, covariance, shrinkage, what)
            prior = (sums.counts / sums.other_counts.clamp(min=1.0)).clamp(min=1e-300).log()
            defined = (sums.counts > 0) & (sums.other_counts > 0)
        else:
            weights, bias = shared_covariance(means, covariance, shrinkage, what)
            prior = (sums.counts / sums.counts.sum().clamp(min=1.0)).clamp(min=1e-300).log()
            defined = sums.counts > 0
        if self.options.prior == "counts":
            bias = bias + prior
        return weights * scales[:, None], torch.where(defined, bias, 0.0)

    def scores(self, modality: str, features: Tensor) -> Tensor:
        """See `Pooled`."""
        return self.of(modality).scores(features)
