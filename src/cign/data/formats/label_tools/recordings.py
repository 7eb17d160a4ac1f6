"""Find the recordings that label files name: by relative path, by name, or by their own name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from cign.data.media.container import Media, MediaError
from cign.data.media.recognition import AUDIO_SUFFIXES, has_media_suffix
from cign.data.walking import walk
from cign.errors import InputError
from cign.utils.file_text import escape_name, is_escaped, unescape_name
from cign.utils.wording import listed

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:")
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio's prefix of an uploaded file
_MAX_NAMED = 3


class Recording(NamedTuple):
    """A recording that label files name.

    Attributes:
        id: Its path below the media folder, as in the ids of clips; its name if it is missing.
        path: The file; the expected path if it is missing.
    """

    id: str
    path: Path


class Recordings:
    """Looks up recordings in media folders, and remembers which are missing.

    Args:
        source: The label file, or the folder of label files.
        media: Media folders, absolute; the folder of the source if empty.
    """

    def __init__(self, source: Path, media: Sequence[Path]) -> None:
        self._base = source if source.is_dir() else source.parent
        self.roots = list(media) or [self._base]
        self._by_name: dict[str, list[Path]] | None = None
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        self._known: dict[tuple[object, ...], Recording] = {}
        self._missing: dict[str, None] = {}
        self._probed: dict[Path, Fraction] = {}

    def find(self, names: Sequence[str], label_file: Path, where: object) -> Recording:
        """Find a recording by the names or paths that a tool wrote, the best first.

        A path of another machine is matched by its longest end that exists below a media folder,
        in the folder that corresponds to that of the label file before the top. Then the name is
        searched in all folders, and Label Studio's prefix of uploads is removed.

        Raises:
            InputError: If a name is not a file name, or fits files in several folders.
        """
        key = (*names, label_file.parent)
        if key not in self._known:
            paths = [parts for name in names for parts in _spellings(name, where)]
            found = self._search(paths, label_file, where)
            self._known[key] = self._named(found, paths[0][-1])
        return self._known[key]

    def find_stem(self, stems: Sequence[str], label_file: Path) -> Recording:
        """Find the recording with the name of a label file, without suffix.

        Of two files with the same name, video takes precedence over audio alone.

        Raises:
            InputError: If it fits files in several folders.
        """
        self._index()
        for stem in stems:
            paths = self._by_stem.get(stem, [])
            folders = self._counterparts(label_file)
            beside = [[path for path in paths if path.parent == folder] for folder in folders]
            chosen = next(filter(None, beside), paths)
            if len({path.parent for path in chosen}) > 1:
                raise _ambiguous(chosen, label_file)
            if chosen:
                first = min(chosen, key=lambda path: path.suffix.lower() in AUDIO_SUFFIXES)
                return self._named(first, stem)
        return self._named(None, f"{stems[-1]}.wav")

    def has_stem(self, stem: str) -> bool:
        """Whether a recording has this name without suffix."""
        self._index()
        return stem in self._by_stem

    def frame_rate(self, recording: Recording, where: object) -> Fraction:
        """Return the frames per second of a recording; only its headers are read.

        Raises:
            InputError: If it is missing or has no video.
        """
        if recording.path not in self._probed:
            self._probed[recording.path] = frame_rate(recording.path, where)
        return self._probed[recording.path]

    def notes(self) -> tuple[str, ...]:
        """Return a note on missing recordings."""
        if not self._missing:
            return ()
        where = ", ".join(escape_name(str(root)) for root in self.roots)
        number = len(self._missing)
        are = "recording was" if number == 1 else "recordings were"
        return (
            f"{number} {are} not found in {where} (--media names other folders): "
            f"{listed(self._missing, _MAX_NAMED)}",
        )

    def _named(self, path: Path | None, name: str) -> Recording:
        if path is None:
            name = escape_name(_UPLOAD.sub("", name))
            self._missing[name] = None
            return Recording(name, self.roots[0] / name)
        root = next(root for root in self.roots if path.is_relative_to(root))
        return Recording(escape_name(path.relative_to(root).as_posix()), path)

    def _search(
        self, paths: Sequence[tuple[str, ...]], label_file: Path, where: object
    ) -> Path | None:
        shorter = [
            (*parts[:-1], name)
            for parts in paths
            if (name := _UPLOAD.sub("", parts[-1])) != parts[-1]
        ]
        folders = self._counterparts(label_file)
        for forms in (paths, shorter):
            ends = [parts[begin:] for parts in forms for begin in range(len(parts))]
            for end in sorted(ends, key=len, reverse=True):
                for folder in folders:
                    path = folder.joinpath(*end)
                    if _is_file(path):
                        return path
        by_name = self._index()
        for parts in (*paths, *shorter):
            found = by_name.get(parts[-1], [])
            if len(found) > 1:
                raise _ambiguous(found, where)
            if found:
                return found[0]
        return None

    def _counterparts(self, label_file: Path) -> list[Path]:
        """The folder of a label file in each media folder, then the media folders."""
        inside = label_file.parent
        relative = inside.relative_to(self._base) if inside.is_relative_to(self._base) else Path()
        return list(dict.fromkeys([*(root / relative for root in self.roots), *self.roots]))

    def _index(self) -> dict[str, list[Path]]:
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for root in self.roots:
                for folder, _, names in walk(root):
                    for name in names:
                        path = folder / name
                        self._by_name[name].append(path)
                        if has_media_suffix(path):
                            self._by_stem[path.stem].append(path)
        return self._by_name


def _ambiguous(paths: Sequence[Path], where: object) -> InputError:
    return InputError(
        "bad-list",
        f"{where}: the recording may be {paths[0]} or {paths[1]}: place the label file in the "
        "folder of its recording, or name one folder with --media",
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no file name
        return False


def _spellings(text: str, where: object) -> Iterator[tuple[str, ...]]:
    """Yield the parts of a path or an address, also without its escapes.

    Raises:
        InputError: If it contains no file name.
    """
    has_scheme = _SCHEME.match(text)
    if "?d=" in text:  # Label Studio's local files
        text = text.partition("?d=")[2]
    elif has_scheme and not text.startswith("file:"):
        text = text.partition("?")[0]
    forms = [text]
    if unquote(text) != text:
        forms.append(unquote(text, errors="surrogateescape"))
    if is_escaped(text):
        forms.insert(0, unescape_name(text))
    for form in forms:
        path = _SCHEME.sub("", form)
        if "/" not in path or _DRIVE.match(path):
            path = path.replace("\\", "/")
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        if parts and _DRIVE.fullmatch(parts[0]):
            parts = parts[1:]
        if not parts or any(char in path for char in "\0\n\r"):
            raise InputError("bad-list", f"{where}: {text!r} is not the name of a file; correct it")
        yield tuple(parts)


def frame_rate(path: Path, where: object) -> Fraction:
    """Return the average number of frames per second of a video.

    Raises:
        InputError: If it is missing, cannot be opened or has no video.
    """
    try:
        with Media.open(path) as media:
            rate = None if media.video is None else media.video.average_rate
    except MediaError as error:
        raise InputError(
            "file-missing",
            f"{where}: times are numbers of frames, and {path} cannot give the frame rate "
            f"({error}): name its folder with --media",
        ) from None
    if not rate:
        raise InputError(
            "bad-clip",
            f"{where}: times are numbers of frames, but {path} has no video: give the video",
        )
    return Fraction(rate)


def duration_s(path: Path) -> float:
    """Return the duration of a recording in seconds.

    Raises:
        InputError: If it cannot be opened.
    """
    try:
        with Media.open(path) as media:
            return media.duration_s()
    except MediaError as error:
        raise InputError(
            "file-missing",
            f"the end of {path} is unknown ({error}): name the folder of the media with --media",
        ) from None


def frame_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels of a file for which `frame_rate` succeeds."""
    with Media.open(path) as media:
        assert media.video is not None
        return int(media.video.width), int(media.video.height)
