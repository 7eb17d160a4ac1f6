"""Clips for one of several processes that learn together: its own of each batch.

Legend: B clips, n of them a process's own, E width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cign.data.memory import ExemplarMemory
from cign.data.tasks import IntArray
from cign.feed import Feed
from cign.methods.base import Batch, Method, TaskData
from cign.peers import Peers


@dataclass(frozen=True, kw_only=True)
class SharedBatch(Batch):
    """A process's clips of a batch.

    Attributes:
        rows: Where they stand in the batch, shape [n].
        total: Clips of the batch, B.
        share: Their share of the batch, n / B.
    """

    rows: IntArray
    total: int
    share: float


@dataclass(frozen=True, kw_only=True)
class SharedFeed(Feed):
    """Gives a process its clips of each batch; see `cign.feed.Feed`.

    Attributes:
        peers: The processes.
    """

    peers: Peers

    def rows(self, batch: IntArray) -> IntArray:
        """Which clips of a batch are this process's, shape [n]: every ``number``-th."""
        return np.arange(self.peers.rank, len(batch), self.peers.number)

    def batches(self, batches: list[IntArray], task: int) -> Iterator[SharedBatch]:
        """Read this process's clips of each batch; one without any reads the first, unshared."""
        first = np.zeros(1, dtype=np.int64)
        shares = [len(self.rows(batch)) / len(batch) for batch in batches]
        own = [self.rows(b) if share else first for b, share in zip(batches, shares, strict=True)]
        parts = super().batches([b[rows] for b, rows in zip(batches, own, strict=True)], task)
        for batch, rows, share, part in zip(batches, own, shares, parts, strict=True):
            yield SharedBatch(**vars(part), rows=rows, total=len(batch), share=share)

    def features(self, method: Method, indices: IntArray, task: int) -> NDArray[np.float32]:
        """The method's vectors of clips, float32, shape [N, E], by this process alone."""
        return self.alone.features(method, indices, task)

    @property
    def alone(self) -> Feed:
        """The same, with all clips of each batch."""
        return Feed(clips=self.clips, source=self.source, device=self.device)

    def choose_exemplars(self, memory: ExemplarMemory, method: Method, data: TaskData) -> None:
        """Let the memory take clips of the task's classes; each process reads some classes."""
        if memory.budget.amount == 0:
            return
        gathered: dict[int, NDArray[np.float32]] = {}

        def features(indices: IntArray) -> NDArray[np.float32]:
            """Those of all new clips of a class are gathered, others are computed here."""
            if not gathered:
                gathered.update(self._gathered(method, data))
            c = int(self.clips.class_of(indices[:1])[0])
            clips = data.new[self.clips.class_of(data.new) == c]
            if np.array_equal(indices, clips):
                return gathered[c]
            return self.features(method, indices, data.task)

        method.choose_exemplars(memory, replace(data, features=features))
        # On machines of different kinds equal features may differ in the last bit.
        for c, chosen in sorted(memory.by_class.items()):
            tensor = torch.from_numpy(chosen.copy())
            self.peers.take_from_first_([tensor])
            memory.by_class[c] = tensor.numpy()

    def _gathered(self, method: Method, data: TaskData) -> dict[int, NDArray[np.float32]]:
        """Features of the new clips by class, each class read in whole by one process."""
        counted = self.clips.class_of(data.new)
        classes = list(range(data.num_old, data.num_classes))
        own = {
            c: self.features(method, data.new[counted == c], data.task)
            for c in classes[self.peers.rank :: self.peers.number]
            if (counted == c).any()
        }
        width = self.peers.largest(max((x.shape[1] for x in own.values()), default=0))
        result = {}
        for c in classes:
            zeros = np.zeros((int((counted == c).sum()), width), dtype=np.float32)
            tensor = torch.from_numpy(own.get(c, zeros))
            self.peers.add_([tensor])
            result[c] = tensor.numpy()
        return result
