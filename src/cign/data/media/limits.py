"""Limits for untrusted media: small files that would decode to very large frames or lengths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """What a file may decode to.

    Attributes:
        max_pixels: Pixels of a frame.
        max_duration_s: Length in seconds.
    """

    max_pixels: int
    max_duration_s: float


_limits: ContextVar[MediaLimits | None] = ContextVar("media_limits", default=None)


@contextmanager
def limited(limits: MediaLimits) -> Iterator[None]:
    """Apply limits to all files that this thread opens; without it there are none."""
    token = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(token)


def codec_options() -> dict[str, str]:
    """Options with which FFmpeg's decoders refuse frames above the limit before they allocate."""
    limits = _limits.get()
    return {} if limits is None else {"max_pixels": str(limits.max_pixels)}


def beyond_limits(video: Any | None, duration_s: float) -> str | None:
    """State in which way a file exceeds the limits; None if it does not.

    Args:
        video: Its video stream of PyAV, if it has one.
        duration_s: Its length in seconds.
    """
    limits = _limits.get()
    if limits is None:
        return None
    width_px, height_px = (video.width, video.height) if video is not None else (0, 0)
    if width_px * height_px > limits.max_pixels:
        most = f"{limits.max_pixels:,} pixels"
        return f"its frames have {width_px} x {height_px} pixels, at most {most} are accepted"
    if duration_s > limits.max_duration_s:
        return (
            f"it is {duration_s:,.0f} s long, at most {limits.max_duration_s:,.0f} s are accepted"
        )
    return None
