"""Mahalanobis distances to classes whose covariances are given by thin factors.

Goswami et al. (FeCAM, NeurIPS 2023) shrink the covariance S of a class to
S + g1 V1 I + g2 V2 (1 1^T - I), V1 the mean variance and V2 the mean covariance of two dimensions,
and normalise it to correlations. With a thin factor R, S = R^T R, this is a I plus a matrix of rank
r + 1 at most, a = g1 V1 - g2 V2. Its eigenvectors outside the span of R and 1 all have the
eigenvalue a, so that distances need r + 1 axes per class instead of D. Normalising by the standard
deviations s gives z^T diag(s) S^-1 diag(s) z, so that differences z are multiplied by s.

Legend: B clips, C classes, D width of the features, r rows of a factor, K axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cign.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Distances to one class.

    Attributes:
        weights: Factors of the differences from the mean, shape [D].
        axes: Orthonormal rows, shape [k, D].
        variances: Variance along each, shape [k].
        rest: Variance in all other directions; infinity if there are none.
    """

    weights: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor


def axes_of(
    factor: Tensor,
    gammas: tuple[float, float],
    *,
    normalise: bool,
    variance: float,
    what: str,
) -> Axes:
    """The shrunk covariance of a class as axes.

    Args:
        factor: R, float64, shape [r, D].
        gammas: g1 and g2.
        normalise: Whether to normalise to correlations.
        variance: V1 of a class without any variance, for example of one clip (ours).
        what: Name for the error message.

    Raises:
        RunError: If the shrunk covariance is not positive definite.
    """
    dim = factor.shape[1]
    diagonal = factor.square().sum(dim=0)
    mean = diagonal.mean()
    mean = torch.where(mean > 0, mean, mean.new_tensor(variance))
    between = (factor.sum(dim=1).square().sum() - diagonal.sum()) / max(1, dim * (dim - 1))
    added, outside = gammas[0] * mean, gammas[1] * between
    base = added - outside
    ones = factor.new_ones(1, dim)
    # Eigenvectors of R^T R + g2 V2 1 1^T, in a basis of the span of R and 1.
    basis = torch.linalg.qr(torch.cat([factor, ones]).T).Q  # [D, k]
    inner, one = factor @ basis, ones @ basis
    values, vectors = torch.linalg.eigh(inner.T @ inner + outside * (one.T @ one))
    variances = values + base
    has_rest = basis.shape[1] < dim
    least = torch.minimum(variances.amin(), base) if has_rest else variances.amin()
    limit = dim * torch.finfo(factor.dtype).eps * variances.amax()
    if not bool(least > limit):
        raise RunError(
            "singular",
            f"the covariance of a class in {what} is not positive definite with gamma1 "
            f"{gammas[0]:g} and gamma2 {gammas[1]:g}: use a higher gamma1, for example 1, or a "
            "lower gamma2",
        )
    return Axes(
        weights=(diagonal + added).sqrt() if normalise else torch.ones_like(diagonal),
        axes=(basis @ vectors).T,
        variances=variances,
        rest=base if has_rest else base.new_tensor(torch.inf),
    )


class ClassDistances(nn.Module):
    """Squared Mahalanobis distances to all classes.

    Args:
        width: D.

    Attributes:
        means: Class means, shape [C, D].
        weights: Factors of the differences from them, shape [C, D].
        axes: Axes of each class, filled up with zeros, shape [C, K, D].
        inverses: Inverse variances along them, shape [C, K].
        rest: Inverse variances in all other directions, shape [C].
    """

    means: Tensor
    weights: Tensor
    axes: Tensor
    inverses: Tensor
    rest: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(0, width))
        self.register_buffer("weights", torch.ones(0, width))
        self.register_buffer("axes", torch.zeros(0, 1, width))
        self.register_buffer("inverses", torch.ones(0, 1))
        self.register_buffer("rest", torch.ones(0))

    def grow(self, num_new: int) -> None:
        """Add classes, whose distances are Euclidean ones from zero until they are solved."""
        for name, value in (("means", 0.0), ("weights", 1.0), ("axes", 0.0), ("inverses", 1.0)):
            old = getattr(self, name)
            setattr(self, name, torch.cat([old, old.new_full((num_new, *old.shape[1:]), value)]))
        self.rest = torch.cat([self.rest, self.rest.new_ones(num_new)])

    def make_room(self, most_rows: int) -> None:
        """Resize to factors with this many rows at most."""
        number, _, dim = self.axes.shape
        num_axes = min(most_rows + 1, dim)
        self.axes = self.axes.new_zeros(number, num_axes, dim)
        self.inverses = self.inverses.new_ones(number, num_axes)

    def solution(
        self,
        factors: Sequence[Tensor],
        means: Tensor,
        scales: Tensor,
        *,
        gammas: tuple[float, float],
        normalise: bool,
        variance: float,
        what: str,
    ) -> dict[str, Tensor]:
        """Buffers for `use`.

        Args:
            factors: R of each class, of scaled features, float64, shape [r, D].
            means: Class means before scaling, shape [D, C].
            scales: Factors of the features, shape [D].
            gammas: See `axes_of`.
            normalise: See `axes_of`.
            variance: See `axes_of`.
            what: See `axes_of`.

        Raises:
            RunError: If a shrunk covariance is not positive definite.
        """
        dim = len(scales)
        num_axes = min(max((len(factor) for factor in factors), default=0) + 1, dim)
        axes = scales.new_zeros(len(factors), num_axes, dim)
        inverses = scales.new_ones(len(factors), num_axes)
        weights, rest = [], []
        for index, factor in enumerate(factors):
            one = axes_of(factor, gammas, normalise=normalise, variance=variance, what=what)
            axes[index, : len(one.axes)] = one.axes
            inverses[index, : len(one.axes)] = one.variances.reciprocal()
            weights.append(one.weights * scales)
            rest.append(one.rest.reciprocal())
        return {
            "means": means.T,
            "weights": torch.stack(weights) if weights else self.weights,
            "axes": axes,
            "inverses": inverses,
            "rest": torch.stack(rest) if rest else self.rest,
        }

    def use(self, solution: dict[str, Tensor]) -> None:
        """Replace the buffers, in the precision of the module."""
        for name, values in solution.items():
            setattr(self, name, values.to(getattr(self, name)).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Squared distances, shape [B, C].

        Args:
            x: Features, shape [B, D].
        """
        found = []
        for index in range(len(self.means)):
            differences = (x - self.means[index]) * self.weights[index]
            along = differences @ self.axes[index].T
            # The remainder itself: its square as a difference of squares would lose digits.
            remainder = differences - along @ self.axes[index]
            distance = (along.square() * self.inverses[index]).sum(dim=1)
            found.append(distance + remainder.square().sum(dim=1) * self.rest[index])
        return torch.stack(found, dim=1) if found else x.new_zeros(len(x), 0)
