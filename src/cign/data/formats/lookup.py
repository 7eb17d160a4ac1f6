"""Find the files of clips that a list names by recording and time, not by path."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cign.data.media.recognition import AUDIO_SUFFIXES, MEDIA_SUFFIXES, kind_of
from cign.utils.file_text import escape_name

# File names without suffix, as format strings; `*` matches digits.
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
    """Identity of a clip in a list: the recording, and its part in whole seconds."""

    video: str
    start_s: int = 0
    end_s: int = 0


class _File(NamedTuple):
    """A media file; creating a full path for each of 200,000 files would take seconds."""

    folder: Path
    name: str
    is_audio: bool


class _Index(NamedTuple):
    """Files below media folders by name without suffix.

    Attributes:
        files: Files with a known suffix.
        others: Files with another suffix or none; they are opened on lookup.
        num_shadowed: Files that are not used, because another file has the same name.
    """

    files: dict[str, _File]
    others: dict[str, list[_File]]
    num_shadowed: int


class MediaFinder:
    """Looks up clips by name in media folders of any depth, and counts the hits.

    Of two files with the same name, video takes precedence over audio-only files, then the first
    path. A file with an unknown suffix is opened to check that it is media if no other file has
    the name.

    Args:
        roots: Media folders, absolute.
        patterns: Name patterns to try, in this order.
    """

    def __init__(self, roots: Sequence[Path], patterns: Sequence[str]) -> None:
        self._roots = roots
        self._patterns = patterns
        self._index = _index(roots)
        self._trimmed: dict[str, list[str]] = {}
        if any("*" in pattern for pattern in patterns):
            for stem in sorted({*self._index.files, *self._index.others}):
                if match := _TRIMMED.fullmatch(stem):
                    self._trimmed.setdefault(match[1], []).append(stem)
        self._hits: Counter[str] = Counter()

    def find(self, name: Name, clip_id: str) -> Path:
        """Return the file of a clip; if there is none, the path that is expected for it."""
        for pattern in self._patterns:
            trimmed = "*" in pattern
            stems = self._trimmed.get(name.video, ()) if trimmed else (_stem(pattern, name),)
            found = next((file for stem in stems if (file := self._file(stem))), None)
            if found is not None:
                self._hits[pattern] += 1
                return found.folder / found.name
        return self._roots[0] / f"{clip_id}.mp4"

    def _file(self, stem: str) -> _File | None:
        """Return the media file of a name without suffix."""
        found = self._index.files.get(stem)
        if found is not None:
            return found
        for other in self._index.others.pop(stem, ()):
            if kind_of(other.folder / other.name) is not None:
                self._index.files[stem] = other
                return other
        return None

    def notes(self) -> tuple[str, ...]:
        """Return notes on the patterns tried with their hits, and on unused files."""
        where = ", ".join(escape_name(str(root)) for root in self._roots)
        example = Name("VIDEO", 30, 40)
        tried = ", ".join(
            f"{_stem(pattern, example)} {self._hits[pattern]}" for pattern in self._patterns
        )
        notes = [f"file names tried in {where}, with the clips found by each: {tried}"]
        if self._index.num_shadowed:
            notes.append(
                f"{self._index.num_shadowed} media files have the same name as another file in "
                f"{where} and were not used"
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


def _index(roots: Sequence[Path]) -> _Index:
    """Index all files below the roots that may be media."""
    files: dict[str, _File] = {}
    others: dict[str, list[_File]] = {}
    num_shadowed = 0
    for root in roots:
        visited: set[tuple[int, int]] = set()
        for folder, folders, names in os.walk(root, followlinks=True):
            parent = Path(folder)
            status = parent.stat()
            if (status.st_dev, status.st_ino) in visited:
                folders.clear()  # a link to a folder that was visited already
                continue
            visited.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.startswith("."):
                    continue
                stem, dot, suffix = name.rpartition(".")
                suffix = dot + suffix.lower()
                if not dot or suffix not in MEDIA_SUFFIXES:
                    for possible in {stem, name} - {""}:  # a dot need not start a suffix
                        others.setdefault(possible, []).append(_File(parent, name, False))
                    continue
                file = _File(parent, name, suffix in AUDIO_SUFFIXES)
                other = files.setdefault(stem, file)
                if other is file:
                    continue
                num_shadowed += 1
                if other.is_audio and not file.is_audio:
                    files[stem] = file
    return _Index(files, others, num_shadowed)
