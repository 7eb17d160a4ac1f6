"""Linear discriminant functions from means and a covariance.

Legend: C classes, D width of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cign.errors import RunError


def shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    """(1 - s) S + s tr(S) / D I; the identity if S is zero, as for single clips of all classes.

    Args:
        covariance: S, float64, shape [D, D].
        shrinkage: s in [0, 1].
    """
    level = covariance.diagonal().mean()
    if not bool(level > 0):
        return torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    result = (1.0 - shrinkage) * covariance
    result.diagonal().add_(shrinkage * level)
    return result


def solve_covariance(covariance: Tensor, columns: Tensor, what: str) -> Tensor:
    """S^-1 X by Cholesky factorisation in float64.

    Args:
        covariance: S, shape [D, D].
        columns: X, shape [D, C].
        what: Name for the error message.

    Raises:
        RunError: If S is singular in float64.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    pivots = factor.diagonal().square()
    limit = len(covariance) * torch.finfo(covariance.dtype).eps * covariance.diagonal().amax()
    if bool(failed != 0) or not bool(pivots.amin() > limit):
        raise RunError(
            "singular",
            f"the covariance of {what} is singular: use a shrinkage above 0, for example 0.1",
        )
    return torch.cholesky_solve(columns, factor)


def shared_covariance(
    means: Tensor, covariance: Tensor, shrinkage: float, what: str
) -> tuple[Tensor, Tensor]:
    """Weights and bias of linear discriminant analysis without priors.

    The weights of class c are S^-1 m_c and its bias is - m_c^T S^-1 m_c / 2 (Hayes & Kanan 2020,
    section 3), S the shrunk covariance.

    Args:
        means: m_c, shape [D, C].
        covariance: Covariance within classes, shape [D, D].
        shrinkage: See `shrunk`.
        what: Name for the error message.

    Returns:
        Shapes [D, C] and [C].

    Raises:
        RunError: If the covariance is singular.
    """
    weights = solve_covariance(shrunk(covariance, shrinkage), means, what)
    return weights, -0.5 * (means * weights).sum(dim=0)


def one_against_rest(
    means: Tensor,
    others: Tensor,
    shares: Tensor,
    covariance: Tensor,
    shrinkage: float,
    what: str,
) -> tuple[Tensor, Tensor]:
    """Weights and bias of the log-odds of each class against the clips without it, without priors.

    With T the covariance of all clips, p_c the share of the clips of class c and d_c = m_c - r_c
    the difference from the mean of the others, the covariance within both groups is
    T - p_c (1 - p_c) d_c d_c^T. Its inverse times d_c is T^-1 d_c over 1 - p_c (1 - p_c) d_c^T T^-1
    d_c (Sherman & Morrison 1950), so that one factorisation serves all classes. Shrinkage is
    towards the mean variance of T (ours).

    Args:
        means: m_c, shape [D, C].
        others: r_c, shape [D, C].
        shares: p_c, shape [C].
        covariance: T, shape [D, D].
        shrinkage: s, see `shrunk`.
        what: Name for the error message.

    Returns:
        Shapes [D, C] and [C].

    Raises:
        RunError: If a covariance is singular.
    """
    apart = means - others
    weights = solve_covariance(shrunk(covariance, shrinkage), apart, what)
    between = (1.0 - shrinkage) * shares * (1.0 - shares) * (apart * weights).sum(dim=0)
    if bool((between > 1.0 - 1e-10).any()):
        raise RunError(
            "singular",
            f"the covariance of {what} is singular within a class and the clips without it: use a "
            "shrinkage above 0, for example 0.1",
        )
    weights = weights / (1.0 - between)
    return weights, -0.5 * ((means + others) * weights).sum(dim=0)
