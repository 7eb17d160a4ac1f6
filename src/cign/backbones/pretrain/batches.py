"""Batches for the training of the small encoders, with augmentation of inputs and targets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cign.backbones.pretrain.data import PretrainSet


class AudioBatches:
    """Batches of audio, shifted in time by whole tokens so that the targets stay valid."""

    def __init__(self, data: PretrainSet, generator: torch.Generator) -> None:
        self.data, self.generator = data, generator
        self.num_clips = len(data.audio)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return inputs ``[B, L]`` and targets ``[B, P, C + 1]``."""
        x = torch.from_numpy(self.data.audio[rows])
        y = torch.from_numpy(self.data.audio_targets[rows]).float()
        shift = int(torch.randint(0, y.shape[1], (), generator=self.generator))
        # The last token is shorter and stays in place. The wrap-around makes a single cut.
        return x.roll(shift * 16 * 256, dims=1), torch.cat([y[:, :-1].roll(shift, 1), y[:, -1:]], 1)


class VisualBatches:
    """Batches of one frame per clip, flipped and rotated by multiples of 90 degrees."""

    def __init__(self, data: PretrainSet, generator: torch.Generator) -> None:
        self.data, self.generator = data, generator
        self.num_clips, self.num_frames = data.frames.shape[:2]

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return inputs ``[B, 1, S, S, 3]`` and targets ``[B, P, C + 1]``."""
        frame = torch.randint(0, self.num_frames, (len(rows),), generator=self.generator).numpy()
        x = torch.from_numpy(self.data.frames[rows, frame])  # [B, S, S, 3]
        y = torch.from_numpy(self.data.visual_targets[rows, frame]).float()
        side = round(y.shape[1] ** 0.5)
        y = y.unflatten(1, (side, side))
        turns, flip = torch.randint(0, 4, (2,), generator=self.generator).tolist()
        x, y = x.rot90(turns, (1, 2)), y.rot90(turns, (1, 2))
        if flip % 2:
            x, y = x.flip(2), y.flip(2)
        return x[:, None], y.flatten(1, 2)
