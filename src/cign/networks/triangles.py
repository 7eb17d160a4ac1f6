"""Sums over clips in half the bytes: of symmetric matrices only the lower triangle is stored.

Models consist mostly of Gram matrices, of which nothing but the lower triangle is valid
(`cign.networks.token_ridge.TokenStatistics`). A file has its rows one after another up to the
diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from cign.networks.token_ridge import TRIANGULAR


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with lower triangles, shape [W (W + 1) / 2], instead of symmetric matrices [W, W]."""
    return {
        name: torch.cat([row[: number + 1] for number, row in enumerate(value)])
        if _is_triangular(name) and value.ndim == 2 and len(value)
        else value
        for name, value in state.items()
    }


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state that was `packed`; above the diagonal there are zeros.

    An array that is not a triangle stays as it is, for those who check the shapes.
    """
    return {
        name: _square(value) if _is_triangular(name) and value.ndim == 1 else value
        for name, value in state.items()
    }


def _is_triangular(name: str) -> bool:
    return name.rpartition(".")[2] in TRIANGULAR


def _square(triangle: Tensor) -> Tensor:
    """The matrix with this lower triangle; other arrays are returned unchanged."""
    width = (math.isqrt(8 * len(triangle) + 1) - 1) // 2
    if width * (width + 1) // 2 != len(triangle):
        return triangle
    matrix = triangle.new_zeros(width, width)
    for number, row in enumerate(triangle.split(list(range(1, width + 1)))):
        matrix[number, : number + 1] = row
    return matrix
