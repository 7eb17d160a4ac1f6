"""Leverage and distance, which unknown scores are made of, without systems of equations to solve.

Legend: B clips, W width of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cign.open_set.evidence import EvidenceReader
from cign.open_set.scores import Mahalanobis


class Whitening(nn.Module):
    """L^-1 f as one product: other programs solve no triangular systems.

    Args:
        factor: L, lower triangular, shape [W, W].
    """

    inverse: Tensor

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        one = torch.eye(len(factor), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(factor.double(), one, upper=False)
        self.register_buffer("inverse", inverse.float())

    def forward(self, features: Tensor) -> Tensor:
        """Whiten features [B, W], shape [W, B]."""
        return self.inverse @ features.to(self.inverse.dtype).T


def distances(rows: Tensor, others: Tensor) -> Tensor:
    """`torch.cdist` of [B, W] and [C, W], shape [B, C], which no converter knows."""
    return (rows.unsqueeze(1) - others).square().sum(dim=2).sqrt()


def without_triangular_systems(reader: EvidenceReader) -> nn.ModuleDict:
    """Have a reader multiply where it solves.

    Args:
        reader: Is changed; its matrices are factorised, and its method's sums not needed from here.

    Returns:
        What it multiplies with, to be part of a network.
    """
    parts = nn.ModuleDict()
    for name, measure in reader.measures().items():
        measure.whiten = parts[name] = Whitening(measure.factor)
        if isinstance(measure, Mahalanobis):
            measure.apart = distances
    return parts
