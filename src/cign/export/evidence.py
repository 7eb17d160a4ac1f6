"""Leverage, from which unknown scores are computed, without solvers.

Legend: B clips, W width of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cign.open_set.evidence import EvidenceReader


class Whitening(nn.Module):
    """L^-1 f as one matrix product, because other runtimes cannot solve triangular systems.

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


def without_triangular_systems(reader: EvidenceReader) -> nn.ModuleDict:
    """Make a reader use matrix products in place of solving triangular systems.

    Args:
        reader: Changed in place; its matrices are factorised, so its method's sums are not needed.

    Returns:
        The modules with its matrices, to be part of a network.
    """
    parts = nn.ModuleDict()
    for name, leverage in (reader.leverage if reader.with_leverage else {}).items():
        leverage.whiten = parts[name] = Whitening(leverage.factor)
    return parts
