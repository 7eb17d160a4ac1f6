"""Where each class was seen and when it was heard, from methods that assign tokens to classes.

Legend: B clips, C classes, K frames of a clip, T moments, N tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cign.methods.base import Output
from cign.networks.encoder import TokenShape

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps of a batch, or of one clip without the first dimension; 0 or more.

    Only the values of one map are to be compared with each other: how likely a class is at all is
    what the probabilities tell.

    Attributes:
        visual: For each frame and patch, shape [B, K, rows, columns, C]; None where the method
            reads pictures as a whole.
        audio: For each moment, the mean over frequencies, shape [B, T, C]; None where the method
            reads sounds as a whole.
    """

    visual: Floats | None
    audio: Floats | None

    def of(self, row: int) -> Maps:
        """Those of one clip."""
        return Maps(
            visual=None if self.visual is None else self.visual[row],
            audio=None if self.audio is None else self.audio[row],
        )


def maps_of(output: Output, shape: TokenShape, num_frames: int) -> Maps | None:
    """The maps of a batch; None where the method assigns no tokens to classes.

    In some methods the assignment sums to one over the tokens for each class, in others over the
    classes for each token.

    Args:
        output: Of the method, in evaluation mode.
        shape: Of the tokens.
        num_frames: K.
    """
    if not output.assignment:
        return None
    return Maps(
        visual=_patches(output.assignment["visual"], shape, num_frames),
        audio=_moments(output.assignment["audio"], shape),
    )


def _patches(assigned: Tensor, shape: TokenShape, num_frames: int) -> Floats | None:
    """[B, N, C] as [B, K, rows, columns, C]; None if the tokens are no such grid."""
    grid = shape.visual_grid
    if grid is None or grid[0] * grid[1] < 2 or assigned.shape[1] != num_frames * grid[0] * grid[1]:
        return None
    return _array(assigned.reshape(len(assigned), num_frames, *grid, -1))


def _moments(assigned: Tensor, shape: TokenShape) -> Floats | None:
    """[B, N, C] as [B, T, C]; None if there is one moment only."""
    rows, columns = shape.audio_grid or (1, assigned.shape[1])
    if columns < 2 or assigned.shape[1] != rows * columns:
        return None
    return _array(assigned.reshape(len(assigned), rows, columns, -1).mean(dim=1))


def _array(values: Tensor) -> Floats:
    array: Floats = values.float().cpu().numpy()
    return array
