"""Detect a source's format from the names of its files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from cign.data.formats.features.source import holds_features
from cign.data.formats.registry import FORMATS, MARKS, Marks
from cign.data.formats.split_names import split_word
from cign.data.formats.table import TABLE_SUFFIXES, table_in
from cign.data.media.recognition import has_media_suffix
from cign.data.shards import SUFFIX, holds_shards
from cign.data.walking import walk
from cign.errors import InputError

_MAX_OPENED = 20  # files of a folder that are opened to recognise a format by content


def detect_format(source: Path) -> str | None:
    """Return the name of a source's format by its files; None if no reader accepts it.

    Raises:
        InputError: If the files identify several formats.
    """
    if holds_features(source):
        return "features"
    if not source.is_dir():
        if name := _marked([source], source):
            return name
        suffix = source.suffix.lower()
        return "table" if suffix in TABLE_SUFFIXES else "webdataset" if suffix == SUFFIX else None
    if table_in(source):
        return "table"
    paths = list(source.iterdir())
    if name := _marked(paths, source):
        return name
    splits = [path for path in paths if split_word(path.name)]
    if any(holds_shards(folder) for folder in (source, *splits)):
        return "webdataset"
    return _marked_below(source) or "folders"


def _marked_below(source: Path) -> str | None:
    """The format of list files in folders below a source without media: these are elsewhere."""
    found = []
    for folder, _, names in walk(source):
        if any(has_media_suffix(Path(name)) for name in names):
            return None
        found += [folder / name for name in names]
    return _marked(found, source)


def _has_mark(marks: Marks, paths: Sequence[Path], source: Path) -> bool:
    named = (path for path in sorted(paths) if marks.is_named(path))
    if marks.content is None:
        return any(path.is_file() for path in named)
    few = islice(named, _MAX_OPENED)
    return any(path.is_file() and marks.content(path, source) for path in few)


def _marked(paths: Sequence[Path], source: Path) -> str | None:
    """The format that one of these files identifies; None if there is none."""
    found = {name for name in FORMATS if name in MARKS and _has_mark(MARKS[name], paths, source)}
    found -= {weaker for name in found for weaker in MARKS[name].over}
    if len(found) > 1:
        raise InputError(
            "missing-option",
            f"source {source} has lists of several formats: choose one with --format "
            f"{' or --format '.join(sorted(found))}",
        )
    return next(iter(found), None)
