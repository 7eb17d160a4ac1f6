"""Unknown scores as pure functions: higher for clips less similar to the training data.

Legend: B clips, C classes, W width of the features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

# Inverse of a factor times features [B, W], shape [W, B].
Whiten = Callable[[Tensor], Tensor]


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
        self.factor = cholesky_factor(gram, ridge).float()
        self.whiten: Whiten = partial(whiten, self.factor)

    def __call__(self, features: Tensor) -> Tensor:
        """Leverage of features [B, W], shape [B], at least 0."""
        return self.whiten(features).square().sum(dim=0)


def cholesky_factor(matrix: Tensor, ridge: float) -> Tensor:
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


def whiten(factor: Tensor, features: Tensor) -> Tensor:
    """L^-1 f for features [B, W], shape [W, B]."""
    solved: Tensor = torch.linalg.solve_triangular(factor, features.to(factor.dtype).T, upper=False)
    return solved
