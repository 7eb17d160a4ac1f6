"""Clips whose audio and images are separate files: ``audio/ID.wav`` and ``frames/ID.jpg``."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

from cign.data.media.container import Media
from cign.data.media.video import Chosen, FrameReader

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SOUND_FOLDER, PICTURE_FOLDER = "audio", "frames"
_MAX_BYTES = 64 << 20
_NUMBERS = re.compile(r"(\d+)")


def pictures_of(path: Path) -> list[Path]:
    """Return the images that belong to an audio file in a folder ``audio``.

    They have the same name in the folder ``frames`` next to that folder: ``frames/ID.jpg`` is a
    single image; the files of ``frames/ID/`` are several images, in the order of the numbers in
    their names. A suffix may be in upper case, and of any image format that can be decoded.
    """
    places = [number for number, part in enumerate(path.parts[:-1]) if part == SOUND_FOLDER]
    if not places:
        return []
    parts = list(path.parts)
    parts[places[-1]] = PICTURE_FOLDER
    base = Path(*parts).with_name(path.name.removesuffix(path.suffix))
    for suffix in PICTURE_SUFFIXES:
        file = base.with_name(base.name + suffix)
        if file.is_file():
            return [file]
    named = [base.with_name(name) for name in _names_by_stem(base.parent).get(base.name, ())]
    named.sort(key=lambda file: (file.suffix.lower() not in PICTURE_SUFFIXES, file.name))
    for file in named:
        if _is_image(file):
            return [file]
    if not base.is_dir():
        return []
    inside = (file for file in base.iterdir() if not file.name.startswith("."))
    return sorted((file for file in inside if _is_image(file)), key=_by_number)


_listings: dict[Path, tuple[int, dict[str, list[str]]]] = {}


def _names_by_stem(folder: Path) -> dict[str, list[str]]:
    """Return file names of a folder by stem; the listing is cached until the folder changes."""
    try:
        changed_ns = folder.stat().st_mtime_ns
        known = _listings.get(folder)
        if known is None or known[0] != changed_ns:
            found: dict[str, list[str]] = {}
            for file in folder.iterdir():
                found.setdefault(file.name.removesuffix(file.suffix), []).append(file.name)
            _listings.clear()  # a corpus has one such folder
            known = _listings[folder] = changed_ns, found
    except OSError:
        return {}
    return known[1]


def _is_image(file: Path) -> bool:
    """Return whether a file is an image, by its suffix in any case, or by decoding it."""
    if not file.is_file():
        return False
    return (
        file.suffix.lower() in PICTURE_SUFFIXES or decode_image(file, images_only=True) is not None
    )


def decode_image(file: Path, *, images_only: bool = False) -> Any | None:
    """Decode an image; return None if it is not an image or decoding fails."""
    with contextlib.suppress(av.error.FFmpegError, ValueError, OSError, StopIteration, IndexError):
        if file.stat().st_size <= _MAX_BYTES:
            # Open the content, not the path: a name with % would be parsed as a pattern.
            with av.open(io.BytesIO(file.read_bytes()), "r", metadata_errors="replace") as opened:
                if not images_only or _holds_one_image(opened):
                    return next(opened.decode(video=0))
    return None


def _holds_one_image(opened: Any) -> bool:
    """Return whether a file has an image format: AVIF and HEIC are MP4 with one frame."""
    name = opened.format.name
    return name.endswith("_pipe") or name in ("gif", "apng") or opened.streams.video[0].frames == 1


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort key that orders frame2 before frame10."""
    pieces = _NUMBERS.split(path.name)
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]


class PictureReader:
    """Reads the images of a clip at given times; they are spread evenly over its audio.

    Args:
        media: The audio; images that fail are counted in its ``num_bad``.
        files: The images in their order.
    """

    def __init__(self, media: Media, files: Sequence[Path]) -> None:
        self._media = media
        self._files = files
        self._duration_s = media.duration_s()
        self._last: tuple[Path, Any] | None = None

    def at(self, times_s: Sequence[float]) -> Chosen | None:
        """Return the images shown at given times, like `FrameReader.at`."""
        numbers = [self._number(time_s) for time_s in times_s]
        chosen = [self._frame(self._files[number]) for number in numbers]
        decoded = [frame for frame in chosen if frame is not None]
        if not decoded:
            return None
        frames, last = [], decoded[0]
        for frame in chosen:
            last = last if frame is None else frame
            frames.append(last)
        # The test for motion compares with the first image, unless that is the selected one.
        first = self._frame(self._files[0]) if numbers[-1] else None
        return Chosen(frames, list(times_s), first or frames[-1])

    def _number(self, time_s: float) -> int:
        """Return the index of the image shown at a time."""
        share = time_s / self._duration_s if self._duration_s > 0 else 0.0
        return min(int(share * len(self._files)), len(self._files) - 1)

    def _frame(self, file: Path) -> Any | None:
        """Decode an image; return None if it fails."""
        if self._last is not None and self._last[0] == file:
            return self._last[1]
        frame = decode_image(file)
        if frame is None:
            self._media.num_bad += 1
        self._last = (file, frame)
        return frame


def frame_reader(media: Media) -> FrameReader | PictureReader | None:
    """Return the reader of the frames of an open file; None if it has no frames."""
    if media.video is not None:
        return FrameReader(media)
    files = pictures_of(media.path)
    return PictureReader(media, files) if files else None
