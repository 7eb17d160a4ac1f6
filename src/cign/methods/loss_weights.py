"""Weights of losses that select settings: every class counts the same. All of it is ours.

Legend: B clips, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

PART_OF_CLIP = 1e-9
"""A smaller number of clips is a rounding error of the difference of two numbers."""


def loss_weights(counted: Tensor, counts: Tensor) -> Tensor:
    """Weights of the losses of clips, shape [B]: their sum is the sum over classes of mean losses.

    A clip counts once for each of its classes that has a clip left without it.

    Args:
        counted: Labels, with uncertain ones their shares, times the clip's weight, shape [B, C].
        counts: Clips of each class that remain without the clip's sources, shape [B, C].
    """
    return weights_by_class(counted, counts).sum(dim=1)


def weights_by_class(counted: Tensor, counts: Tensor) -> Tensor:
    """The terms of `loss_weights` that each class contributes, shape [B, C]."""
    usable = counted.to(torch.float64) * (counts > PART_OF_CLIP)
    totals = usable.sum(dim=0)
    return usable / totals.where(totals > 0, 1.0)


def num_scored_classes(counted: Tensor, counts: Tensor) -> int:
    """Number of classes with a clip whose loss has a weight above 0."""
    return int(((counted > 0) & (counts > PART_OF_CLIP)).any(dim=0).sum())
