"""Detect a source's format from the names of its files."""

from __future__ import annotations

from pathlib import Path

from cign.data.formats import av_cil, ave, instruments, vggsound, vggsound_sources
from cign.data.formats.split_names import split_word
from cign.data.formats.table import TABLE_SUFFIXES, table_in
from cign.data.shards import SUFFIX, holds_shards

# File names that identify a format; the first existing file decides.
_MARKS = (
    (vggsound_sources.BOXES, "vgg-sound-sources"),
    (vggsound.FULL_LIST, "vggsound"),
    (av_cil.LABELS, "av-cil"),
    (ave.ANNOTATIONS, "ave"),
    (ave.SPLIT_LISTS["train"], "ave"),
)


def detect_format(source: Path) -> str | None:
    """Return the name of a source's format by its files; None if no reader accepts it."""
    if not source.is_dir():
        if source.suffix.lower() in TABLE_SUFFIXES and source.name != vggsound.FULL_LIST:
            return "table"
        if source.suffix.lower() == SUFFIX:
            return "webdataset"
        return next((name for mark, name in _MARKS if source.name == mark), None)
    if table_in(source):
        return "table"
    for mark, name in _MARKS:
        if (source / mark).is_file():
            return name
    names = (path.name for path in source.iterdir())
    if any(instruments.GROUP_LIST.fullmatch(name) for name in names):
        return "vggsound-instruments"
    splits = [path for path in source.iterdir() if split_word(path.name)]
    if any(holds_shards(folder) for folder in (source, *splits)):
        return "webdataset"
    return "folders"
