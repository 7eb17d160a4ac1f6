"""Logits of exemplars from the time they were stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cign.data.tasks import IntArray
from cign.networks.training_state import TrainingState

_BUFFERS = ("clips", "logits", "num_classes")


class StoredLogits(TrainingState):
    """Logits of M exemplars for the classes that were known when each was stored.

    Buffers: ``clips``, clip indices in ascending order, int64 [M]; ``logits``, [M, H, C], zero for
    classes that came later; ``num_classes``, the number of classes known then, int64 [M].

    Args:
        num_heads: H.
    """

    clips: Tensor
    logits: Tensor
    num_classes: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.register_buffer("clips", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("logits", torch.zeros(0, num_heads, 0))
        self.register_buffer("num_classes", torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.clips)

    def clear(self) -> None:
        """See `TrainingState`."""
        for name in list(self._buffers):
            delattr(self, name)

    @property
    def num_bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Resize the buffers to the shapes of a state to load; names without prefix."""
        for name in _BUFFERS:
            if name in state:
                self.register_buffer(name, torch.empty_like(state[name]))

    def missing(self, clips: IntArray) -> IntArray:
        """Those clips that have no stored logits, in ascending order."""
        return np.setdiff1d(clips, self.clips.cpu().numpy())

    def update(self, clips: IntArray, new_clips: IntArray, new_logits: Tensor) -> None:
        """Drop exemplars that left the memory, and add new ones; others keep their logits.

        Args:
            clips: Clips in the memory now, shape [M].
            new_clips: Those without stored logits, in ascending order, shape [m].
            new_logits: Their logits for all classes known now, shape [m, H, C].
        """
        device, num_known = self.clips.device, new_logits.shape[2]
        stays = torch.from_numpy(np.isin(self.clips.cpu().numpy(), clips)).to(device)
        room = num_known - self.logits.shape[2]
        merged = torch.cat([self.clips[stays], torch.from_numpy(new_clips).to(device)])
        order = merged.argsort()
        self.clips = merged[order]
        self.logits = torch.cat([F.pad(self.logits[stays], (0, room)), new_logits])[order]
        counts = self.num_classes.new_full((len(new_clips),), num_known)
        self.num_classes = torch.cat([self.num_classes[stays], counts])[order]

    def rows(self, clips: IntArray) -> Tensor:
        """The row of each clip, shape [B]; an arbitrary one for clips that are not stored."""
        indices = torch.from_numpy(clips).to(self.clips.device)
        return torch.searchsorted(self.clips, indices).clamp(max=len(self) - 1)

    def distances(self, logits: Tensor, head: int, rows: Tensor) -> Tensor:
        """Mean squared distance from the stored logits, over the classes known at their time.

        Args:
            logits: Current logits, shape [B, C].
            head: Index of the head.
            rows: Rows of the clips, shape [B].

        Returns:
            Shape [B].
        """
        stored, known = self.logits[rows, head], self.num_classes[rows]
        is_known = torch.arange(stored.shape[1], device=known.device) < known.unsqueeze(1)
        squares = (logits[:, : stored.shape[1]] - stored).square()
        return (squares * is_known).sum(dim=1) / known
