"""Decode the audio of a file between two times: mono, 16 bit, at one rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from cign.data.media.container import Media
from cign.data.media.seeking import decoded_from

# Decoders and the resampler need preceding audio to give correct first samples.
_LEAD_S = 0.2
_GAP_S = 0.05
_MOST_CHANNELS = 64  # limit of FFmpeg's resampler
_MOST_PLANES = 8

# Index of the first sample from time 0, and int16 samples [n].
Piece = tuple[int, NDArray[np.int16]]


@dataclass(frozen=True)
class Sound:
    """Samples between two times.

    Attributes:
        samples: int16 [n]; silence where the track has no samples.
        first: Index of the first sample from the track.
        last: Index after the last sample from the track; 0 if there is none.
    """

    samples: NDArray[np.int16]
    first: int
    last: int


class SoundReader:
    """Reads the audio of ascending spans in one pass; only one span is in memory.

    Args:
        media: A file with an audio track.
        rate_hz: Target sample rate in hertz.
        from_s: Start of the first span in seconds.
    """

    def __init__(self, media: Media, rate_hz: int, from_s: float = 0.0) -> None:
        self._rate_hz = rate_hz
        self._pieces = _pieces(media, rate_hz, from_s)
        self._buffered: deque[Piece] = deque()

    def between(self, start_s: float, end_s: float) -> Sound:
        """Decode the audio between two times, mixed to one channel.

        Args:
            start_s: Start in seconds; not before the start of the previous span.
            end_s: End in seconds.
        """
        begin = round(start_s * self._rate_hz)
        end = begin + round((end_s - start_s) * self._rate_hz)
        while self._buffered and _end(self._buffered[0]) <= begin:
            self._buffered.popleft()
        while not self._buffered or _end(self._buffered[-1]) < end:
            piece = next(self._pieces, None)
            if piece is None:
                break
            if _end(piece) > begin:
                self._buffered.append(piece)
        samples = np.zeros(end - begin, np.int16)
        first, last = len(samples), 0
        for offset, piece_samples in self._buffered:
            low, high = max(offset, begin), min(offset + len(piece_samples), end)
            if low < high:
                samples[low - begin : high - begin] = piece_samples[low - offset : high - offset]
                first, last = min(first, low - begin), max(last, high - begin)
        return Sound(samples, first if last else 0, last)


def _end(piece: Piece) -> int:
    return piece[0] + len(piece[1])


def _pieces(media: Media, rate_hz: int, from_s: float) -> Iterator[Piece]:
    """Yield resampled pieces of a file, see `PieceMaker`."""
    maker = PieceMaker(rate_hz)
    assert media.audio is not None
    may_hold_nan = holds_floats(media.audio.codec_context)
    for frame, time_s in _frames(media, from_s):
        if may_hold_nan:
            media.num_not_finite += clear_not_finite(frame)
        yield from maker.take(frame, time_s)
    yield from maker.rest()


class PieceMaker:
    """Resamples frames to pieces with the index of their first sample from time 0.

    A gap, or a change of rate, layout or sample format, starts a new run with its own resampler.
    Within a run, samples are counted, because timestamps are rounded.

    Args:
        rate_hz: Target sample rate in hertz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler: MonoResampler | None = None
        self._index = 0
        self._next_s = 0.0
        self._kind: tuple[Any, ...] = ()

    def take(self, frame: Any, time_s: float) -> Iterator[Piece]:
        """Resample the next frame, which starts at a time in seconds; yield what is finished."""
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or now != self._kind or abs(time_s - self._next_s) > _GAP_S:
            yield from self.rest()
            self._resampler = MonoResampler(self._rate_hz)
            self._index, self._kind, self._next_s = round(time_s * self._rate_hz), now, time_s
        self._next_s += frame.samples / frame.sample_rate
        frame.pts = None  # otherwise the resampler fills small gaps in the timestamps
        piece = self._resampler.convert(frame)
        if len(piece):
            yield self._index, piece
            self._index += len(piece)

    def rest(self) -> Iterator[Piece]:
        """End the run; yield the samples that the resampler still holds."""
        if self._resampler is not None:
            yield self._index, self._resampler.convert(None)
        self._resampler = None


class MonoResampler:
    """Converts frames of one format to int16 samples of one channel.

    FFmpeg's matrix mixes the layouts that it supports. It rejects numbers of channels without a
    layout (9, 11, 32, as from microphone arrays); those channels are averaged.

    Args:
        rate_hz: Target sample rate in hertz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
        self._rate_hz = rate_hz
        self._is_averaged: bool | None = None
        self._unpacker: av.AudioResampler | None = None

    def convert(self, frame: Any | None) -> NDArray[np.int16]:
        """Convert a frame; None flushes the remaining samples."""
        if frame is not None and self._is_averaged:
            frame = self._average(frame)
        parts: list[Any]
        try:
            parts = [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)]
        except av.error.ArgumentError:
            if frame is None or self._is_averaged is not None:
                raise
            self._is_averaged = True
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self._rate_hz)
            return self.convert(frame)
        if self._is_averaged is None and frame is not None:
            self._is_averaged = False
        samples: NDArray[np.int16] = (
            parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int16), *parts])
        )
        return samples

    def _average(self, frame: Any) -> Any:
        num_channels = frame.layout.nb_channels
        if num_channels <= _MOST_CHANNELS:
            # PyAV reads at most 8 planes safely; packed formats have one plane.
            if self._unpacker is None:
                self._unpacker = av.AudioResampler(
                    format="flt", layout=frame.layout, rate=frame.sample_rate
                )
            parts = [part.to_ndarray() for part in self._unpacker.resample(frame)]
            packed = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)
        elif frame.format.is_planar:
            raise ValueError(f"{num_channels} channels in planes are not supported")
        else:
            packed = frame.to_ndarray().astype(np.float64)
            if frame.format.name == "u8":
                packed -= 128
            if frame.format.name not in ("flt", "dbl"):
                packed /= 2 ** (frame.format.bits - 1)
        mono = packed.reshape(-1, num_channels).mean(axis=1, dtype=np.float64).astype(np.float32)
        averaged = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
        averaged.sample_rate = frame.sample_rate
        return averaged


def holds_floats(codec_context: Any) -> bool:
    """Return whether a codec stores raw floating-point samples, which may not be finite."""
    name: str = codec_context.name
    return name.startswith("pcm_f") or name == "wavpack"


def clear_not_finite(frame: Any) -> int:
    """Set samples that are not finite to 0, and return their number.

    The conversion to int16 would turn them into full-scale samples.
    """
    width = {"flt": np.float32, "dbl": np.float64}.get(frame.format.packed.name)
    cleared = 0
    for plane in frame.planes[:_MOST_PLANES] if width is not None else ():
        samples = np.frombuffer(plane, width)
        wrong = ~np.isfinite(samples)
        if wrong.any():
            samples[wrong] = 0
            cleared += int(wrong.sum())
    return cleared


def _frames(media: Media, from_s: float) -> Iterator[tuple[Any, float]]:
    """Yield decoded frames, starting shortly before a time, with their times in seconds."""
    lead_s = max(from_s - _LEAD_S, 0.0)
    for frame, time_s in decoded_from(media, from_s, "audio", lead_s=_LEAD_S):
        if time_s + frame.samples / frame.sample_rate > lead_s:
            yield frame, time_s
