"""Frames of a file at given times: seek, decode, choose by time stamp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.media.container import EPSILON_S, Media
from cign.data.media.seeking import decoded_from

# Frames that no other frame refers to are not decoded when they end this long before the wanted
# one. A frame may be shown for long where the rate varies; then the pass is repeated with all.
_SKIP_S = 0.5
# Reading on is cheaper than seeking when the next wanted frame is at most this far away.
_READ_ON_S = 10.0
_BLOCK_PX = 16
_STILL_PX = 128


@dataclass(frozen=True)
class Chosen:
    """Frames chosen by time.

    Attributes:
        frames: The frame shown at each wanted time.
        times_s: The times of these frames.
        first: The first frame decoded on the way to them.
    """

    frames: list[Any]
    times_s: list[float]
    first: Any


class FrameReader:
    """Gives the frames shown at some times, that is the last that begin at or before them.

    Before the first frame its picture counts, after the last frame that one's.

    Args:
        media: A file with a picture track.
    """

    def __init__(self, media: Media) -> None:
        self._media = media
        self._skip_before_s = 0.0
        self._frames: Iterator[tuple[Any, float]] = iter(())
        self._last: tuple[Any, float] | None = None  # decoded and not yet passed

    def at(self, times_s: Sequence[float]) -> Chosen | None:
        """Decode the frames shown at some times.

        Args:
            times_s: Times in ascending order.

        Returns:
            The frames, or nothing if none decodes.
        """
        position_s = None if self._last is None else self._last[1]
        if position_s is not None and position_s <= times_s[0] <= position_s + _READ_ON_S:
            chosen = self._choose(times_s, skip=True)
        else:
            chosen = self._from(times_s[0], times_s, skip=True)
        if chosen is not None:
            waits = (t - u for t, u in zip(times_s, chosen.times_s, strict=True))
            if max(waits) <= 0.8 * _SKIP_S:
                return chosen
            # A long wait: frames that were skipped may lie in it.
            chosen = self._from(times_s[0], times_s, skip=False)
        return chosen or self._from(0.0, times_s, skip=False)

    def _from(self, seek_s: float, times_s: Sequence[float], *, skip: bool) -> Chosen | None:
        self._last = None
        self._frames = self._decode(seek_s, skip)
        return self._choose(times_s, skip=skip)

    def _choose(self, times_s: Sequence[float], *, skip: bool) -> Chosen | None:
        chosen: list[tuple[Any, float]] = []
        first = before = self._last
        self._skip_before_s = times_s[0] - _SKIP_S if skip else 0.0
        while len(chosen) < len(times_s):
            # One frame is held back: whether it is the wanted one shows when the next comes.
            if self._last is None or self._last[1] <= times_s[len(chosen)] + EPSILON_S:
                before = self._last or before
                following = next(self._frames, None)
                if following is None:
                    break
                self._last = following
                first = first or following
            else:
                chosen.append(before or self._last)
                if skip and len(chosen) < len(times_s):
                    self._skip_before_s = times_s[len(chosen)] - _SKIP_S
        if first is None:
            return None
        before = self._last or before
        assert before is not None
        chosen += [before] * (len(times_s) - len(chosen))
        return Chosen([frame for frame, _ in chosen], [time for _, time in chosen], first[0])

    def _decode(self, seek_s: float, skip: bool) -> Iterator[tuple[Any, float]]:
        media = self._media
        skipping: bool | None = None

        def before(stamp_s: float | None) -> None:
            nonlocal skipping
            assert media.video is not None
            skippable = skip and stamp_s is not None and stamp_s < self._skip_before_s
            if skippable != skipping:
                media.video.codec_context.skip_frame = "NONREF" if skippable else "DEFAULT"
                skipping = skippable

        return decoded_from(media, seek_s, "video", before=before)


def to_square(frame: Any, size_px: int) -> NDArray[np.uint8]:
    """Turn a frame into 8-bit RGB, squashed to a square and upright.

    Squashing is ours: it keeps the whole picture, and boxes in 0..1 stay true.

    Returns:
        Shape [size_px, size_px, 3].
    """
    picture: NDArray[np.uint8] = frame.to_ndarray(
        width=size_px, height=size_px, format="rgb24", interpolation="BILINEAR"
    )
    turns = rotation_deg(frame) // 90
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def rotation_deg(frame: Any) -> int:
    """Counter-clockwise turn by the display matrix, to the quarter: 0, 90, 180 or 270."""
    return round((frame.rotation or 0) / 90) * 90 % 360


def is_still(first: Any, wanted: Any) -> bool:
    """Whether no 16x16 block of the picture changes its mean luminance by a level of 255.

    Both frames are brought to 128x128 pixels first (ours). Pixel by pixel, or at full size, the
    noise of compression passes for movement: a still picture in a strongly compressed H.264 file
    changes by 2 levels between its key frame and a later frame.
    """
    a, b = (
        frame.to_ndarray(
            width=_STILL_PX, height=_STILL_PX, format="gray", interpolation="BILINEAR"
        ).astype(np.int16)
        for frame in (first, wanted)
    )
    num_blocks = _STILL_PX // _BLOCK_PX
    blocks = (a - b).reshape(num_blocks, _BLOCK_PX, num_blocks, _BLOCK_PX)
    return bool(np.abs(blocks.mean(axis=(1, 3))).max() < 1.0)


def describe_picture(track: Any, frame: Any) -> Iterator[tuple[str, str]]:
    """Conditions of a picture track that are dealt with, by name and detail.

    Args:
        track: The track; nothing for pictures in files of their own.
        frame: A frame of it.
    """
    if rotation_deg(frame):
        yield "rotated", f"turned by {rotation_deg(frame)} degrees"
    bits = max((component.bits for component in frame.format.components), default=8)
    if bits > 8:
        yield "10-bit", f"{bits} bits a component were taken as 8"
    if frame.width % 2 or frame.height % 2:
        yield "odd size", f"{frame.width}x{frame.height} pixels"
    rates: Any = (None, None) if track is None else (track.average_rate, track.base_rate)
    if all(rates) and abs(float(rates[0] / rates[1]) - 1) > 0.01:
        yield "variable rate", "frames were chosen by their time stamps"
