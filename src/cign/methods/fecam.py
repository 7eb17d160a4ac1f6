"""Nearest class by a Mahalanobis distance with one covariance per class.

FeCAM: Goswami, Liu, Twardowski & van de Weijer, NeurIPS 2023. docs/methods/fecam.md lists what is
ours.

Legend: B clips, C classes, D width of the features of a modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from cign.errors import InputError
from cign.methods.base import Setup, TaskData
from cign.methods.pooled import NEGLIGIBLE, Pooled, PooledOptions, inverse_deviation
from cign.methods.registry import register_method
from cign.networks.mahalanobis import ClassDistances
from cign.networks.thin_factor import ThinFactors, thin_factor
from cign.vocabulary import MODALITIES, UNIMODAL


@dataclass(frozen=True, kw_only=True)
class FecamOptions(PooledOptions):
    """Options of `fecam`.

    Attributes:
        gamma1: Multiple of the mean variance added to the diagonal of each covariance.
        gamma2: Multiple of the mean covariance added outside the diagonal.
        normalise: Whether covariances are normalised to correlations.
        power: Exponent of Tukey's transformation, see `PooledOptions`; 0.5 in the paper. Negative
            features keep their sign (ours).
        temperature: Divides the squared distances, over the number of dimensions, before the
            soft-max; ours.
    """

    gamma1: float = 1.0
    gamma2: float = 1.0
    normalise: bool = True
    power: float = 0.5
    temperature: float = 0.05

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        for name in ("gamma1", "gamma2"):
            if not 0.0 <= getattr(self, name) <= 1e6:
                raise InputError("bad-value", f"{name} {getattr(self, name)} must be in [0, 1e+06]")


@register_method("fecam")
class Fecam(Pooled):
    """Stores mean and covariance of each class, and classifies by the nearest class."""

    Options: ClassVar[type] = FecamOptions
    options: FecamOptions
    refused_streams: ClassVar[Mapping[str, str]] = {
        "online": "it adds clips to its covariances after the task, reading them again: use "
        "--stream tasks, or another method, for example slda",
    }
    supports_multi_label: ClassVar[bool] = False

    def __init__(self, setup: Setup, options: FecamOptions) -> None:
        super().__init__(setup, options)
        self.factors = nn.ModuleDict(
            {modality: ThinFactors(self.dims[modality]) for modality in MODALITIES}
        )
        self.distances = nn.ModuleDict(
            {modality: ClassDistances(self.dims[modality]) for modality in MODALITIES}
        )

    def factors_of(self, modality: str) -> ThinFactors:
        """Factors of the scatter of each class around its mean."""
        found = self.factors[modality]
        assert isinstance(found, ThinFactors)
        return found

    def distances_of(self, modality: str) -> ClassDistances:
        """Distances to the classes."""
        found = self.distances[modality]
        assert isinstance(found, ClassDistances)
        return found

    def grow(self, num_new: int) -> None:
        """See `Pooled`."""
        for modality in MODALITIES:
            self.factors_of(modality).grow(num_new)
            self.distances_of(modality).grow(num_new)
        super().grow(num_new)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """See `Pooled`.

        Args:
            state: Tensors by name.
        """
        super().make_room(state)
        for modality in MODALITIES:
            one, ranks = self.factors_of(modality), state.get(f"factors.{modality}.ranks")
            fits = ranks is not None and ranks.shape == one.ranks.shape and len(ranks) > 0
            if ranks is not None and fits and int(ranks.sum()) == len(one.factor):
                self.distances_of(modality).make_room(int(ranks.max()))

    @torch.no_grad()
    def after_task(self, data: TaskData) -> None:
        """Add the task's clips to the covariances of their classes, and solve.

        The task's clips are read again here, because their means are known only now.
        """
        self.eval()
        for modality, (rows, targets) in self.gathered(data, data.new).items():
            one = self.factors_of(modality)
            if not bool(rows.isfinite().all()):
                break  # `solve` reports it
            factors = one.parts()
            for index in range(self.num_classes):
                if bool(targets[:, index].any()):
                    new = rows[targets[:, index]]
                    factors[index] = self._joined(modality, index, factors[index], new)
            one.replace(factors)
        self.solve()

    def _joined(self, modality: str, index: int, factor: Tensor, rows: Tensor) -> Tensor:
        """Factor of the scatter of a class with new clips, which are part of the sums already.

        The scatter of two sets is the sum of both and of n_1 n_2 / (n_1 + n_2) d d^T, d the
        difference of their means (Chan, Golub & LeVeque 1983).

        Args:
            modality: One of `MODALITIES`.
            index: Index of the class.
            factor: Of its earlier clips, shape [r, D].
            rows: Its new clips, shape [m, D].
        """
        sums = self.sums(modality)
        mean, number = rows.mean(dim=0), len(rows)
        parts = [factor, rows - mean]
        earlier = float(sums.counts[index]) - number
        if earlier > 0.5:
            before = (sums.sums[:, index] - number * mean) / earlier
            weight = (earlier * number / (earlier + number)) ** 0.5
            parts.append(weight * (mean - before).unsqueeze(0))
        joined = thin_factor(torch.cat(parts))
        # Identical clips differ from their mean by rounding.
        is_rounding = joined.square().sum() <= NEGLIGIBLE * sums.class_sums[-2, index]
        return joined[:0] if bool(is_rounding) else joined

    def variances(self, modality: str, sizes: list[int]) -> list[Tensor]:
        """Mean variance within classes over blocks of dimensions.

        Args:
            modality: One of `MODALITIES`.
            sizes: Sizes of the blocks.
        """
        one, sums = self.factors_of(modality), self.sums(modality)
        freedom = (sums.counts - 1.0).clamp(min=0.0).sum().clamp(min=1.0)
        return [
            part.square().sum() / (freedom * part.shape[1])
            for part in one.factor.split(sizes, dim=1)
        ]

    def scales(self, modality: str) -> Tensor:
        """Factors of the features, shape [D]: 1 for a single modality.

        For both, each modality is divided by the root of its mean variance within classes (ours).
        """
        if modality in UNIMODAL:
            return self.sums(modality).total_sums.new_ones(self.dims[modality])
        sizes = [self.dims[name] for name in UNIMODAL]
        scales = [
            inverse_deviation(variance, self.sums(name).square / size).expand(size)
            for variance, name, size in zip(
                self.variances(modality, sizes), UNIMODAL, sizes, strict=True
            )
        ]
        return torch.cat(scales)

    def solve_sums(self) -> None:
        """Compute the distances to all classes.

        Raises:
            RunError: If a covariance is not positive definite.
        """
        solved = {}
        for modality in MODALITIES:
            one, sums, scales = (
                self.factors_of(modality),
                self.sums(modality),
                self.scales(modality),
            )
            freedom = (sums.counts - 1.0).clamp(min=1.0).sqrt()
            factors = [
                part * scales / root for part, root in zip(one.parts(), freedom, strict=True)
            ]
            (pooled,) = self.variances(modality, [self.dims[modality]])
            if modality == "audio_visual":
                pooled = torch.ones_like(pooled)
            solved[modality] = self.distances_of(modality).solution(
                factors,
                sums.means,
                scales,
                gammas=(self.options.gamma1, self.options.gamma2),
                normalise=self.options.normalise,
                variance=float(pooled) or 1.0,
                what=f"modality {modality}",
            )
        for modality, values in solved.items():
            self.distances_of(modality).use(values)

    def remove_class(self, index: int) -> None:
        """Remove a class with all that is stored of its clips.

        Args:
            index: Index of the class in the order of learning.
        """
        for modality in MODALITIES:
            one = self.factors_of(modality)
            parts = one.parts()
            one.replace([*parts[:index], *parts[index + 1 :]])
        super().remove_class(index)
        self.solve()

    def scores(self, modality: str, features: Tensor) -> Tensor:
        """See `Pooled`: negative squared distances over the number of dimensions."""
        distances = self.distances_of(modality)(features)
        return -distances / self.dims[modality]
