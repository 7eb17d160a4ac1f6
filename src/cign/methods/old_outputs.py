"""Outputs of the model before the task, for methods that distil."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cign.data.tasks import IntArray
from cign.methods.base import Batch, Method, TaskData
from cign.networks.training_state import Teacher

Outputs = dict[str, Tensor]
MOST_BYTES = 2**28
"""Outputs of a task that need more memory are computed again for each batch."""


class OldOutputs:
    """Outputs of the model before the task, computed once for all clips of the task.

    Cached tokens of a clip never change, so neither do these outputs. While encoders are trained,
    each batch is computed anew.

    Args:
        method: The method that distils.
        teacher: Its teacher.
        compute: Outputs of the teacher for a batch, each of shape [B, ...].
    """

    def __init__(
        self, method: Method, teacher: Teacher[Any], compute: Callable[[Batch], Outputs]
    ) -> None:
        self._method, self._teacher, self._compute = method, teacher, compute
        self._version = -1
        self._clips: IntArray = np.zeros(0, dtype=np.int64)  # ascending; their rows of `_kept`
        self._kept: Outputs = {}

    @torch.no_grad()
    def of(self, batch: Batch) -> Outputs:
        """Outputs of a batch of clips of the current task."""
        data = self._method.data
        if data is None or self._method.setup.backbone is not None:
            return self._compute(batch)
        if self._version != self._teacher.version:
            self._version = self._teacher.version
            self._keep(data, self._compute(batch), len(batch.indices))
        if not self._kept:
            return self._compute(batch)
        rows = np.searchsorted(self._clips, batch.indices)
        if not np.array_equal(self._clips.take(rows, mode="clip"), batch.indices):
            return self._compute(batch)  # other clips than those of the task
        chosen = torch.from_numpy(rows)
        return {name: kept[chosen.to(kept.device)] for name, kept in self._kept.items()}

    def _keep(self, data: TaskData, example: Outputs, num_examples: int) -> None:
        """Compute the outputs of all clips of a task, unless they need too much memory."""
        clips = np.unique(np.concatenate([data.memory, data.new]))
        each = sum(values.nbytes for values in example.values()) / num_examples
        if each * len(clips) > MOST_BYTES:
            clips = clips[:0]
        parts = [self._compute(batch) for batch in data.batches(clips)] if len(clips) else []
        self._clips = clips
        self._kept = {name: torch.cat([part[name] for part in parts]) for name in example if parts}
