"""Read frames of a file at given times: seek, decode, select by timestamp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.media.container import EPSILON_S, Media
from cign.data.media.seeking import decoded_from

# Non-reference frames are not decoded if they end this long before the selected time. With a
# variable rate, a frame may be shown for a long time; then the pass is repeated with all frames.
_SKIP_S = 0.5
# Reading on is cheaper than seeking if the next selected time is at most this far away.
_READ_ON_S = 10.0
_BLOCK_PX = 16
_STILL_PX = 128


@dataclass(frozen=True)
class Chosen:
    """Frames selected by time.

    Attributes:
        frames: The frame shown at each requested time.
        times_s: The times of these frames in seconds.
        first: The first frame that was decoded to reach them.
    """

    frames: list[Any]
    times_s: list[float]
    first: Any


class FrameReader:
    """Reads the frames shown at given times: the last frames that start at or before them.

    Times before the first frame give the first frame; times after the last give the last.

    Args:
        media: A file with a video track.
    """

    def __init__(self, media: Media) -> None:
        self._media = media
        self._skip_before_s = 0.0
        self._frames: Iterator[tuple[Any, float]] = iter(())
        self._last: tuple[Any, float] | None = None  # decoded and not yet passed

    def at(self, times_s: Sequence[float]) -> Chosen | None:
        """Decode the frames shown at given times.

        Args:
            times_s: Times in seconds, in ascending order.

        Returns:
            The frames; None if no frame can be decoded.
        """
        position_s = None if self._last is None else self._last[1]
        if position_s is not None and position_s <= times_s[0] <= position_s + _READ_ON_S:
            chosen = self._choose(times_s, skip=True)
        else:
            chosen = self._from(times_s[0], times_s, skip=True)
        if chosen is not None:
            gaps_s = (t - u for t, u in zip(times_s, chosen.times_s, strict=True))
            if max(gaps_s) <= 0.8 * _SKIP_S:
                return chosen
            # A long gap may contain frames that were skipped.
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
            # Hold back one frame: only the next frame shows whether it is the selected one.
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
    """Convert a frame to 8-bit RGB, resized to a square and rotated upright.

    Resizing without cropping is our choice: it preserves the complete image, and boxes in [0, 1]
    remain valid.

    Returns:
        Shape [size_px, size_px, 3].
    """
    image: NDArray[np.uint8] = frame.to_ndarray(
        width=size_px, height=size_px, format="rgb24", interpolation="BILINEAR"
    )
    turns = rotation_deg(frame) // 90
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def rotation_deg(frame: Any) -> int:
    """Return the counter-clockwise rotation of the display matrix: 0, 90, 180 or 270 degrees."""
    return round((frame.rotation or 0) / 90) * 90 % 360


def is_still(first: Any, selected: Any) -> bool:
    """Return whether the mean luminance of every 16x16 block changes by less than 1 of 255 levels.

    Both frames are first resized to 128x128 pixels (our choice). Pixel by pixel, or at full size,
    compression noise would be detected as motion: a still image in a strongly compressed H.264
    file changes by 2 levels between its key frame and a later frame.
    """
    a, b = (
        frame.to_ndarray(
            width=_STILL_PX, height=_STILL_PX, format="gray", interpolation="BILINEAR"
        ).astype(np.int16)
        for frame in (first, selected)
    )
    num_blocks = _STILL_PX // _BLOCK_PX
    blocks = (a - b).reshape(num_blocks, _BLOCK_PX, num_blocks, _BLOCK_PX)
    return bool(np.abs(blocks.mean(axis=(1, 3))).max() < 1.0)


def describe_frame(track: Any, frame: Any) -> Iterator[tuple[str, str]]:
    """Yield the conditions of a video track that decoding handles, by name and detail.

    Args:
        track: The track; None for images in separate files.
        frame: A frame of the track.
    """
    if rotation_deg(frame):
        yield "rotated", f"turned by {rotation_deg(frame)} degrees"
    bits = max((component.bits for component in frame.format.components), default=8)
    if bits > 8:
        yield "10-bit", f"{bits} bits per component were converted to 8"
    if frame.width % 2 or frame.height % 2:
        yield "odd size", f"{frame.width}x{frame.height} pixels"
    rates: Any = (None, None) if track is None else (track.average_rate, track.base_rate)
    if all(rates) and abs(float(rates[0] / rates[1]) - 1) > 0.01:
        yield "variable rate", "frames were selected by their timestamps"
