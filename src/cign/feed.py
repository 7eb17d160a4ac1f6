"""What the loop feeds a method with: batches on the device, and exemplars for the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cign.data.batches import ClipSource, cut, read_ahead, targets_of
from cign.data.memory import ExemplarMemory
from cign.data.tasks import IntArray, TaskClips
from cign.methods.base import Batch, Method, TaskData
from cign.scoring import EVALUATION_BATCH


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Batches of clips with their targets.

    Attributes:
        clips: Targets and tasks of all clips.
        source: Reads clips by index.
        device: Where batches go.
    """

    clips: TaskClips
    source: ClipSource
    device: str | torch.device

    def batches(self, batches: list[IntArray], task: int) -> Iterator[Batch]:
        """Read batches ahead of the step and put them on the device.

        Args:
            batches: Clip indices of each.
            task: The task at hand; targets are over the classes seen up to it.
        """
        num_classes = self.clips.tasks.num_seen(task)

        def read(indices: IntArray) -> Batch:
            audio, visual = self.source.read(indices)
            old = torch.from_numpy(self.clips.task_of_clip[indices] < task)
            targets = targets_of(self.clips, indices, num_classes)
            return Batch(
                audio=audio, visual=visual, targets=targets, from_memory=old, indices=indices
            )

        for batch in read_ahead([lambda i=i: read(i) for i in batches]):  # type: ignore[misc]
            yield replace(
                batch,
                audio=batch.audio.to(self.device, non_blocking=True),
                visual=batch.visual.to(self.device, non_blocking=True),
                targets=batch.targets.to(self.device, non_blocking=True),
                from_memory=batch.from_memory.to(self.device, non_blocking=True),
            )

    @torch.no_grad()
    def features(self, method: Method, indices: IntArray, task: int) -> NDArray[np.float32]:
        """The method's vectors of clips, float32, shape [N, E]."""
        parts = [
            method.embed(batch.audio, batch.visual).float().cpu().numpy()
            for batch in self.batches(cut(indices, EVALUATION_BATCH), task)
        ]
        return np.concatenate(parts)

    def choose_exemplars(self, memory: ExemplarMemory, method: Method, data: TaskData) -> None:
        """Let the method choose the exemplars that the memory keeps."""
        if memory.budget.amount:
            method.choose_exemplars(memory, data)
