"""Finding the files of clips that a list names by recording and time, not by path."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cign.data.formats.folders import AUDIO_SUFFIXES, MEDIA_SUFFIXES

# Names of files without their suffix, as in format strings; `*` stands for digits.
YOUTUBE_CLIP = (
    "{video}_{start:06d}",
    "{video}_{start}",
    "{video}_{start}_{end}",
    "{video}_{start_ms}_{end_ms}",
)
TRIMMED_CLIP = ("{video}_{start:06d}_{end:06d}", *YOUTUBE_CLIP, "{video}")
WHOLE_FILE = ("{video}",)
WHOLE_OR_TRIMMED = ("{video}", "{video}_*_*")

_TRIMMED = re.compile(r"(.+)_\d+_\d+")


class Name(NamedTuple):
    """What a list says of a clip: the recording, and the part of it in whole seconds."""

    video: str
    start_s: int = 0
    end_s: int = 0


class _File(NamedTuple):
    """A media file; a whole path for each of 200,000 files would take seconds."""

    folder: Path
    name: str
    is_sound: bool


class MediaFinder:
    """Looks clips up by name, in media folders of any depth, and counts the hits.

    Of two files with the same name pictures go before sound alone, then the first path counts.

    Args:
        roots: Media folders, absolute.
        patterns: Names to try, in this order.
    """

    def __init__(self, roots: Sequence[Path], patterns: Sequence[str]) -> None:
        self._roots = roots
        self._patterns = patterns
        self._files, self._num_twice = _index(roots)
        self._trimmed: dict[str, _File] = {}
        if any("*" in pattern for pattern in patterns):
            for stem in sorted(self._files, reverse=True):
                if match := _TRIMMED.fullmatch(stem):
                    self._trimmed[match[1]] = self._files[stem]
        self._hits: Counter[str] = Counter()

    def find(self, name: Name, clip_id: str) -> Path:
        """Give the file of a clip; if there is none, the name it should have."""
        for pattern in self._patterns:
            if "*" in pattern:
                found = self._trimmed.get(name.video)
            else:
                found = self._files.get(_stem(pattern, name))
            if found is not None:
                self._hits[pattern] += 1
                return found.folder / found.name
        return self._roots[0] / f"{clip_id}.mp4"

    def notes(self) -> tuple[str, ...]:
        """The patterns tried and the hits of each, in one sentence."""
        where = ", ".join(str(root) for root in self._roots)
        example = Name("VIDEO", 30, 40)
        tried = ", ".join(
            f"{_stem(pattern, example)} {self._hits[pattern]}" for pattern in self._patterns
        )
        notes = [f"file names tried in {where}, with the clips found by each: {tried}"]
        if self._num_twice:
            notes.append(
                f"{self._num_twice} media files have the name of another one in {where} and were "
                "not used"
            )
        return tuple(notes)


def _stem(pattern: str, name: Name) -> str:
    return pattern.format(
        video=name.video,
        start=name.start_s,
        end=name.end_s,
        start_ms=name.start_s * 1000,
        end_ms=name.end_s * 1000,
    )


def _index(roots: Sequence[Path]) -> tuple[dict[str, _File], int]:
    """All media files below the roots by name without suffix, and how many lost their name."""
    files: dict[str, _File] = {}
    num_twice = 0
    for root in roots:
        visited: set[tuple[int, int]] = set()
        for folder, folders, names in os.walk(root, followlinks=True):
            parent = Path(folder)
            status = parent.stat()
            if (status.st_dev, status.st_ino) in visited:
                folders.clear()  # a link that leads back
                continue
            visited.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                stem, dot, suffix = name.rpartition(".")
                suffix = dot + suffix.lower()
                if not stem or name.startswith(".") or suffix not in MEDIA_SUFFIXES:
                    continue
                file = _File(parent, name, suffix in AUDIO_SUFFIXES)
                other = files.setdefault(stem, file)
                if other is file:
                    continue
                num_twice += 1
                if other.is_sound and not file.is_sound:
                    files[stem] = file
    return files, num_twice
