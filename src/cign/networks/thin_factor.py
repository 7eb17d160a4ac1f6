"""Gram matrices of more features than clips, as a thin factor, and ridge solutions from it.

A Gram matrix G = Phi^T Phi of n clips has rank n at most. A factor A of at most min(n, W) rows with
A^T A = G holds the same information in r x W instead of W x W numbers, and a ridge solution for any
strength needs one eigendecomposition of order r. Nothing is approximated; the rows are rotated, so
that they are no longer those of single clips.

Legend: n rows, r rows of the factor, W width of the features, C classes, K ridge strengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def thin_factor(rows: Tensor) -> Tensor:
    """Orthogonal rows with the same Gram matrix.

    Args:
        rows: float64, shape [n, W].

    Returns:
        A, shape [r, W] with r <= min(n, W), A^T A = rows^T rows up to rounding, and rows that are
        orthogonal to each other; directions below the rounding error of the largest are left out.
    """
    few = len(rows) <= rows.shape[1]
    values, vectors = torch.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    limit = max(rows.shape) * torch.finfo(rows.dtype).eps * values.amax() if len(values) else 0.0
    kept = values > limit
    if few:
        return (vectors[:, kept].T @ rows).contiguous()
    return (values[kept].sqrt().unsqueeze(1) * vectors[:, kept].T).contiguous()


class ThinFactors(nn.Module):
    """Thin factors of several Gram matrices, one below the other.

    Args:
        width: W.
        number: Number of Gram matrices at first.

    Attributes:
        factor: Rows of all factors, shape [R, W].
        ranks: Number of rows of each, int64.
    """

    factor: Tensor
    ranks: Tensor

    def __init__(self, width: int, number: int = 0) -> None:
        super().__init__()
        self.register_buffer("ranks", torch.zeros(number, dtype=torch.int64))
        self.register_buffer("factor", torch.zeros(0, width, dtype=torch.float64))

    def grow(self, number: int) -> None:
        """Add empty factors."""
        self.ranks = torch.cat([self.ranks, self.ranks.new_zeros(number)])

    def parts(self) -> list[Tensor]:
        """Each factor, shape [r, W]."""
        return list(self.factor.split(self.ranks.tolist()))

    def replace(self, parts: Sequence[Tensor]) -> None:
        """Store other factors.

        Args:
            parts: Factors of float64, shape [r, W] each.
        """
        self.factor = torch.cat([self.factor[:0], *parts])
        self.ranks = self.ranks.new_tensor([len(part) for part in parts])

    def make_room(self, state: Mapping[str, Tensor], prefix: str) -> None:
        """Resize to the ranks of a state to load; a state that contradicts itself is left to fail.

        Args:
            state: Tensors by name.
            prefix: Name of this module with a dot.
        """
        ranks, rows = state.get(f"{prefix}ranks"), state.get(f"{prefix}factor")
        if ranks is None or rows is None or ranks.shape != self.ranks.shape:
            return
        if bool((ranks >= 0).all()) and int(ranks.sum()) == len(rows):
            self.factor = self.factor.new_empty(len(rows), self.factor.shape[1])


def project_ridge(factor: Tensor, cross: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What ridge solutions of all strengths have in common.

    With A = diag(s) V, s the lengths of the orthogonal rows, (A^T A + ridge I)^-1 Q is
    V^T diag(1 / (s^2 + ridge)) V Q for every Q whose columns are in the span of the rows.

    Args:
        factor: A of `thin_factor`, shape [r, W].
        cross: Q, shape [W, C].

    Returns:
        V, shape [r, W], s^2, shape [r], and V Q, shape [r, C].
    """
    squares = factor.square().sum(dim=1)
    axes = factor / squares.sqrt().unsqueeze(1)
    return axes, squares, axes @ cross


def ridge_solution(factor: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """The solution of (A^T A + ridge I) X = Q, shape [W, C].

    Args:
        factor: A of `thin_factor`, shape [r, W].
        cross: Q, shape [W, C].
        ridge: Strength.
    """
    axes, squares, projected = project_ridge(factor, cross)
    return axes.T @ (projected / (squares + ridge).unsqueeze(1))


def ridge_errors(
    factor: Tensor, cross: Tensor, features: Tensor, targets: Tensor, ridges: Sequence[float]
) -> Tensor:
    """Mean squared errors of other clips under the solution of each ridge strength.

    Args:
        factor: A of the clips that are fitted, shape [r, W].
        cross: Their Q, shape [W, C].
        features: The other clips, shape [m, W].
        targets: Their targets, shape [m, C].
        ridges: K strengths.

    Returns:
        Shape [K].
    """
    axes, squares, projected = project_ridge(factor, cross)
    seen = features @ axes.T  # [m, r]
    errors = [
        (seen @ (projected / (squares + ridge).unsqueeze(1)) - targets).square().mean()
        for ridge in ridges
    ]
    return torch.stack(errors)
