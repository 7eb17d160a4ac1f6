"""Quadratic penalties on changes of parameters that are important to earlier tasks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def quadratic_penalty(triples: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Half the weighted squared distance of parameters from their anchors.

    1/2 sum_i F_i (theta_i - theta*_i)^2. Source: Kirkpatrick et al. 2017, equation 3 with lambda 1.

    Args:
        triples: Parameter, anchor and importance; the three have the same shape.

    Returns:
        A scalar.
    """
    parts = [(weight * (value - anchor).square()).sum() for value, anchor, weight in triples]
    return 0.5 * torch.stack(parts).sum()


def merge_penalties(
    importance: Tensor, anchor: Tensor, more: Tensor, where: Tensor
) -> tuple[Tensor, Tensor]:
    """Merge the sum of two quadratic penalties into one, exactly up to a constant.

    A (x - a)^2 + F (x - b)^2 = (A + F) (x - c)^2 + constant with c = (A a + F b) / (A + F). So the
    penalties of all tasks, each with its own anchor, need the memory of one.

    Args:
        importance: A, non-negative.
        anchor: a.
        more: F, non-negative.
        where: b; it is also the new anchor where both importances are zero.

    Returns:
        A + F and c.
    """
    total = importance + more
    share = torch.where(total > 0, more / total.clamp(min=torch.finfo(total.dtype).tiny), 1.0)
    return total, torch.lerp(anchor, where, share)
