"""Sound of a file between two times: mono, 16 bit, at one rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from cign.data.container import Media

# Decoders and the resampler need what came before to give the right first samples.
_LEAD_S = 0.2
_GAP_S = 0.05


@dataclass(frozen=True)
class Sound:
    """Samples between two times.

    Attributes:
        samples: int16 [n]; silence where the track has none.
        first: Index of the first sample that the track has.
        last: Index after the last one; 0 if there is none.
    """

    samples: NDArray[np.int16]
    first: int
    last: int


class SoundReader:
    """Gives the sound of ascending spans in one pass; it keeps one span in memory.

    Args:
        media: A file with a sound track.
        rate_hz: Samples per second to resample to.
        from_s: Where the first span begins.
    """

    def __init__(self, media: Media, rate_hz: int, from_s: float = 0.0) -> None:
        self._rate_hz = rate_hz
        self._pieces = _pieces(media, rate_hz, from_s)
        self._kept: deque[tuple[int, NDArray[np.int16]]] = deque()

    def between(self, start_s: float, end_s: float) -> Sound:
        """Decode the sound between two times, mixed to one channel.

        Args:
            start_s: From here on; not before the start of the last span.
            end_s: To here.
        """
        begin = round(start_s * self._rate_hz)
        end = begin + round((end_s - start_s) * self._rate_hz)
        while self._kept and _end(self._kept[0]) <= begin:
            self._kept.popleft()
        while not self._kept or _end(self._kept[-1]) < end:
            piece = next(self._pieces, None)
            if piece is None:
                break
            if _end(piece) > begin:
                self._kept.append(piece)
        samples = np.zeros(end - begin, np.int16)
        first, last = len(samples), 0
        for offset, piece_samples in self._kept:
            low, high = max(offset, begin), min(offset + len(piece_samples), end)
            if low < high:
                samples[low - begin : high - begin] = piece_samples[low - offset : high - offset]
                first, last = min(first, low - begin), max(last, high - begin)
        return Sound(samples, first if last else 0, last)


def _end(piece: tuple[int, NDArray[np.int16]]) -> int:
    return piece[0] + len(piece[1])


def _pieces(media: Media, rate_hz: int, from_s: float) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Resampled pieces with the index of their first sample, counted from the file's start.

    A gap, or a change of rate, layout or sample format, begins a new run with its own resampler;
    within a run the samples are counted, since time stamps are rounded.
    """
    resampler: av.AudioResampler | None = None
    index = 0
    next_s = 0.0
    kind: tuple[Any, ...] = ()
    for frame, time_s in _frames(media, from_s):
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or now != kind or abs(time_s - next_s) > _GAP_S:
            if resampler is not None:
                yield index, _convert(resampler, None)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
            index, kind, next_s = round(time_s * rate_hz), now, time_s
        next_s += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler would fill small gaps in the time stamps
        piece = _convert(resampler, frame)
        if len(piece):
            yield index, piece
            index += len(piece)
    if resampler is not None:
        yield index, _convert(resampler, None)


def _convert(resampler: av.AudioResampler, frame: Any) -> NDArray[np.int16]:
    parts = [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
    return np.concatenate([np.zeros(0, np.int16), *parts])


def _frames(media: Media, from_s: float) -> Iterator[tuple[Any, float]]:
    """Decoded frames from a little before a time on, with their times in seconds."""
    next_s = 0.0
    lead_s = max(from_s - _LEAD_S, 0.0)
    for packet in media.packets_from(lead_s, media.audio):
        for frame in media.frames(packet):
            given_s = media.frame_s(frame)
            time_s = next_s if given_s is None else given_s
            next_s = time_s + frame.samples / frame.sample_rate
            if next_s > lead_s:
                yield frame, time_s
