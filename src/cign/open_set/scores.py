"""Unknown scores as pure functions: higher for clips less similar to the training data.

Legend: B clips, C classes, W width of the features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

# Inverse of a factor times features [B, W], shape [W, B].
Whiten = Callable[[Tensor], Tensor]
# Distances between rows of [B, W] and [C, W], shape [B, C].
Apart = Callable[[Tensor, Tensor], Tensor]


def max_probability(probabilities: Tensor) -> Tensor:
    """1 minus the highest probability (Hendrycks & Gimpel 2017); [B, C] to [B], 0..1."""
    return (1.0 - probabilities.amax(dim=-1)).clamp(0.0, 1.0)


def max_logit(logits: Tensor) -> Tensor:
    """Minus the highest logit (Hendrycks et al. 2022); [B, C] to [B]."""
    return -logits.amax(dim=-1)


def margin(logits: Tensor) -> Tensor:
    """log((1 - p) / p) of the highest soft-max probability p; [B, C] to [B].

    It has the same order as `max_probability`, but does not round to 0 when p is nearly 1. With a
    single class, where p is always 1, it is 0.
    """
    if logits.shape[-1] < 2:
        return logits.new_zeros(logits.shape[:-1])
    highest, at = logits.max(dim=-1, keepdim=True)
    others = logits.scatter(-1, at, -torch.inf).logsumexp(dim=-1)
    return others - highest.squeeze(-1)


def energy(logits: Tensor) -> Tensor:
    """Free energy -log sum_i exp z_i (Liu et al. 2020); [B, C] to [B]."""
    return -logits.logsumexp(dim=-1)


def joint_energy(logits: Tensor) -> Tensor:
    """-sum_i log(1 + exp z_i), for several labels (Wang et al. 2021); [B, C] to [B]."""
    return -F.softplus(logits).sum(dim=-1)


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits of two modalities, normalised; [B, C] each to [B], 0..1."""
    p, q = (x / x.sum(dim=-1, keepdim=True).clamp_min(1e-12) for x in (first, second))
    mean = (p + q) / 2
    bits = torch.special.entr(mean) - (torch.special.entr(p) + torch.special.entr(q)) / 2
    value: Tensor = bits.sum(dim=-1) / torch.log(bits.new_tensor(2.0))
    return value.clamp(0.0, 1.0)


class Leverage:
    """f^T (G + ridge I)^-1 f: distance of features from the training data of a ridge solution.

    This is the leverage of a new row in ridge regression. Multiplied by the noise variance, it is
    the variance of the prediction, as in a Gaussian process with a linear kernel. It needs only the
    Gram matrix.

    Args:
        gram: G, shape [W, W].
        ridge: Added to the diagonal.
    """

    def __init__(self, gram: Tensor, ridge: float) -> None:
        # Factorised in float64, stored in float32, which suffices for a sum of squares.
        self.factor = _factor(gram, ridge).float()
        self.whiten: Whiten = partial(_whiten, self.factor)

    def __call__(self, features: Tensor) -> Tensor:
        """Leverage of features [B, W], shape [B], at least 0."""
        return self.whiten(features).square().sum(dim=0)


class Mahalanobis:
    """Squared distances to class means under the covariance within classes (Lee et al. 2018).

    Means are Q_i / n_i and the scatter is G - sum_i n_i mean_i mean_i^T, computed from the sums of
    a ridge solution. Each clip must have one label.

    Args:
        gram: G, shape [W, W].
        cross: Q, shape [W, C].
        counts: n_i, number of clips of each class, shape [C].
        ridge: Added to the diagonal of the scatter.
    """

    def __init__(self, gram: Tensor, cross: Tensor, counts: Tensor, ridge: float) -> None:
        counts = counts.to(gram.dtype).clamp_min(1.0)
        means = cross / counts
        scatter = gram - (means * counts) @ means.T
        self.factor = _factor(scatter, ridge).float()
        self.whiten: Whiten = partial(_whiten, self.factor)
        self.means = self.whiten(means.T.float()).T  # [C, W]
        self.apart: Apart = torch.cdist

    def __call__(self, features: Tensor) -> Tensor:
        """Squared distance of features [B, W] to each class, shape [B, C]."""
        return self.apart(self.whiten(features).T, self.means).square()


def _factor(matrix: Tensor, ridge: float) -> Tensor:
    """Cholesky factor of a matrix plus a ridge, which is increased until the matrix is definite."""
    matrix = matrix.to(torch.float64, copy=True)
    size = len(matrix)
    least = size * torch.finfo(torch.float64).eps * float(matrix.diagonal().max().clamp_min(1.0))
    added = max(ridge, least)
    matrix.diagonal().add_(added)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    while bool(failed != 0):
        matrix.diagonal().add_(9.0 * added)
        added *= 10.0
        factor, failed = torch.linalg.cholesky_ex(matrix)
    return factor


def _whiten(factor: Tensor, features: Tensor) -> Tensor:
    """L^-1 f for features [B, W], shape [W, B]."""
    solved: Tensor = torch.linalg.solve_triangular(factor, features.to(factor.dtype).T, upper=False)
    return solved
