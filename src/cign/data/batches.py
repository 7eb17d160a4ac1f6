"""Batches of clips by index, from cached tokens or media, with prefetching."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cign.data.tasks import IntArray, TaskClips

BoolArray = NDArray[np.bool_]
T = TypeVar("T")
AHEAD = 2
"""Batches that are read ahead by default."""


class ClipSource(Protocol):
    """Reads clips by index."""

    def read(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """Read audio and visual input: tokens [B, N, D], or audio samples [B, L] and frames."""

    def availability(self, indices: IntArray) -> tuple[BoolArray, BoolArray]:
        """Return whether clips have audio, and whether they have video; each of shape [B]."""

    @property
    def bytes_per_clip(self) -> int:
        """Bytes needed to store one clip."""

    @property
    def ahead(self) -> int:
        """Number of batches to read ahead; 0 if reading takes no time."""


@dataclass(frozen=True)
class ArraySource:
    """Clips in two arrays, memory-mapped or not.

    Attributes:
        audio: Reads the audio input by index.
        visual: Reads the visual input by index.
        bytes_per_clip: Stored bytes of one clip.
        has_audio: Whether each clip has audio, by index; None if all clips have audio.
        has_visual: Whether each clip has video, by index; None if all clips have video.
        ahead: Number of batches to read ahead in a thread; 0 reads each batch when it is needed.
        release: Takes what was read out of memory, where the arrays are mapped; None if there is
            nothing to take out.
    """

    audio: Callable[[IntArray], np.ndarray]
    visual: Callable[[IntArray], np.ndarray]
    bytes_per_clip: int
    has_audio: BoolArray | None = None
    has_visual: BoolArray | None = None
    ahead: int = AHEAD
    release: Callable[[], None] | None = None

    def read(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """See `ClipSource`."""
        return torch.from_numpy(self.audio(indices)), torch.from_numpy(self.visual(indices))

    def availability(self, indices: IntArray) -> tuple[BoolArray, BoolArray]:
        """See `ClipSource`."""
        all_true = np.ones(len(indices), dtype=np.bool_)
        return (
            all_true if self.has_audio is None else self.has_audio[indices],
            all_true if self.has_visual is None else self.has_visual[indices],
        )


class MeanTokens:
    """Means of the tokens of another source, [B, 1, D]; each is computed when it is first read.

    Args:
        source: Reads tokens [B, N, D].
    """

    ahead = 0

    def __init__(self, source: ClipSource) -> None:
        self._source = source
        self._rows: dict[int, int] = {}  # by clip index
        self._means: list[Tensor] = []  # audio and visual, more rows than clips known

    @property
    def bytes_per_clip(self) -> int:
        """See `ClipSource`; of a clip with all tokens."""
        return self._source.bytes_per_clip

    def availability(self, indices: IntArray) -> tuple[BoolArray, BoolArray]:
        """See `ClipSource`."""
        return self._source.availability(indices)

    def read(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """See `ClipSource`."""
        clips = indices.tolist()
        new = [clip for clip in dict.fromkeys(clips) if clip not in self._rows]
        if new:
            self._add(np.array(new))
        rows = torch.tensor([self._rows[clip] for clip in clips], dtype=torch.int64)
        audio, visual = (means[rows] for means in self._means)
        return audio, visual

    @torch.inference_mode(mode=False)
    def _add(self, clips: IntArray) -> None:
        """Compute and keep the means of further clips."""
        known, needed = len(self._rows), len(self._rows) + len(clips)
        for number, tokens in enumerate(self._source.read(clips)):
            mean = tokens.float().mean(dim=1, keepdim=True)
            if known == 0:
                self._means.append(mean)
                continue
            if needed > len(self._means[number]):
                room = mean.new_empty(2 * needed, *mean.shape[1:])
                room[:known] = self._means[number][:known]
                self._means[number] = room
            self._means[number][known:needed] = mean
        self._rows.update({clip: known + row for row, clip in enumerate(clips.tolist())})


def cut(indices: IntArray, batch_size: int) -> list[IntArray]:
    """Split indices into batches; a last batch of one clip is merged into the previous batch.

    Batch normalisation cannot be trained on a single clip.
    """
    starts = list(range(0, len(indices), batch_size))
    if len(starts) > 1 and len(indices) - starts[-1] == 1:
        starts.pop()
    stops = [*starts, len(indices)][1:]
    return [indices[a:b] for a, b in zip(starts, stops, strict=True)]


def targets_of(clips: TaskClips, indices: IntArray, num_classes: int) -> Tensor:
    """Return multi-hot labels over the first ``num_classes`` classes, bool, [B, C]."""
    return torch.from_numpy(clips.targets[indices, :num_classes])


def read_ahead(items: Iterable[Callable[[], T]], depth: int = AHEAD) -> Iterator[T]:
    """Create items in a thread, up to ``depth`` items ahead of the consumer.

    Args:
        items: Functions that each create an item.
        depth: Maximum of items created ahead; 0 creates them in the caller's thread.

    Yields:
        The items in order. An exception of the thread is raised in the caller's thread.
    """
    if depth == 0:
        yield from (make() for make in items)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[T]] = deque()
        for make in items:
            waiting.append(pool.submit(make))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
