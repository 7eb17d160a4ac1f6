"""Localization maps in space and time, from methods that assign tokens to classes.

Legend: B clips, C classes, K frames per clip, T time steps, N tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cign.methods.output import Output
from cign.networks.encoder import TokenShape

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps of a batch, or of one clip without the first dimension; values are at least 0.

    Values are comparable only within one map. The probabilities state how likely a class is.

    Attributes:
        visual: Value per frame and patch, shape [B, K, rows, columns, C]; None if the method has a
            single visual token per frame.
        audio: Value per time step, averaged over frequencies, shape [B, T, C]; None if the method
            has a single audio token.
    """

    visual: Floats | None
    audio: Floats | None

    def of(self, row: int) -> Maps:
        """The maps of one clip."""
        return Maps(
            visual=None if self.visual is None else self.visual[row],
            audio=None if self.audio is None else self.audio[row],
        )


def maps_of(output: Output, shape: TokenShape, num_frames: int) -> Maps | None:
    """The maps of a batch; None if the method does not assign tokens to classes.

    Depending on the method, the assignment sums to one over the tokens for each class, or over the
    classes for each token.

    Args:
        output: Output of the method in evaluation mode.
        shape: Shape of the tokens.
        num_frames: Number of frames per clip, K.
    """
    if not output.assignment:
        return None
    return Maps(
        visual=_patches(output.assignment["visual"], shape, num_frames),
        audio=_moments(output.assignment["audio"], shape),
    )


def _patches(assigned: Tensor, shape: TokenShape, num_frames: int) -> Floats | None:
    """[B, N, C] as [B, K, rows, columns, C]; None if the tokens do not form such a grid."""
    grid = shape.visual_grid
    if grid is None or grid[0] * grid[1] < 2 or assigned.shape[1] != num_frames * grid[0] * grid[1]:
        return None
    return _array(assigned.reshape(len(assigned), num_frames, *grid, -1))


def _moments(assigned: Tensor, shape: TokenShape) -> Floats | None:
    """[B, N, C] as [B, T, C]; None if there is only one time step."""
    rows, columns = shape.audio_grid or (1, assigned.shape[1])
    if columns < 2 or assigned.shape[1] != rows * columns:
        return None
    return _array(assigned.reshape(len(assigned), rows, columns, -1).mean(dim=1))


def _array(values: Tensor) -> Floats:
    array: Floats = values.float().cpu().numpy()
    return array
