"""Selection tables of Raven (Cornell Lab of Ornithology): a header and a row per selection.

A selection is listed once per view, and per channel. In tables of several files, ``Begin Time (s)``
counts from the first file's start and ``File Offset (s)`` from the start of the row's file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cign.data.formats.delimited import column_names
from cign.data.formats.label_tools.segments import Place, Segments
from cign.data.formats.label_tools.text import (
    begin_of,
    is_label_folder,
    label_files,
    plain,
    read_label_text,
    seconds_of,
)
from cign.data.formats.label_tools.tracks import Track, intervals, register_writer
from cign.data.formats.listing import Listing
from cign.data.formats.registry import register_format
from cign.errors import InputError
from cign.utils.file_text import escape_name

_WHAT = "selection table"
_BEGIN, _END = "begin time (s)", "end time (s)"
_OFFSET, _DELTA = "file offset (s)", "delta time (s)"
_PATH, _FILE, _END_FILE = "begin path", "begin file", "end file"
# Columns that hold the class, as people and detectors name them, the most specific last.
_LABELS = ("annotation", "annotations", "label", "class", "species", "common name", "tags")
_TABLE_NAME = re.compile(r"(\.table\.\d+)?(\.selections)?(\.txt)?$", re.IGNORECASE)
_ACROSS_FILES = "across two files"


def is_raven(path: Path, source: Path) -> bool:
    """Whether a file is a selection table, by its header."""
    header = begin_of(path).partition("\n")[0].lower().split("\t")
    return {_BEGIN, _END} <= {name.strip() for name in header} and is_label_folder(source)


@register_format(
    "raven",
    files=(re.compile(r".*\.txt", re.IGNORECASE),),
    content=is_raven,
    states_splits=False,
    choices=True,
)
def read_raven(source: Path, media: Sequence[Path] = (), *, choice: str | None = None) -> Listing:
    """Read selection tables as segments.

    The recording is that of ``Begin Path`` or ``Begin File``, or has the name of the table
    (``rec.Table.1.selections.txt``).

    Args:
        source: A table, or a folder with tables at any depth.
        media: Folders with the recordings; the folder of the tables if empty.
        choice: Column with the class; ``Annotation`` or another usual name if absent.

    Raises:
        InputError: If there is no table, or a column or a row is wrong.
    """
    segments = Segments(source, media)
    paths = label_files(source, (".txt",), f"{_WHAT}s")
    tables = [path for path in paths if source.is_file() or is_raven(path, path)]
    if not tables:
        raise InputError(
            "wrong-format",
            f"folder {source} contains no .txt with the columns 'Begin Time (s)' and "
            "'End Time (s)': give the folder of the selection tables",
        )
    for path in tables:
        _read_table(path, choice, segments)
    return segments.listing()


def _read_table(path: Path, choice: str | None, segments: Segments) -> None:
    header, *lines = read_label_text(path, _WHAT).split("\n")
    columns = column_names(header.split("\t"), f"{_WHAT} {path}")
    for name in (_BEGIN, _END):
        if name not in columns:
            raise InputError(
                "wrong-format",
                f"{_WHAT} {path} has no column {name!r}: save the selections of Raven with it",
            )
    label = _label_column(columns, choice, path)
    for number, line in enumerate(lines, 2):
        where = Place(path, f"line {number}")
        if not line.strip():
            continue
        values = line.split("\t")
        if len(values) > len(columns):
            raise InputError(
                "bad-list",
                f"{where} has {len(values)} values for {len(columns)} columns: correct it",
            )
        # Editors drop empty values at the end of a line.
        row = dict(zip(columns, [*values, *[""] * (len(columns) - len(values))], strict=True))
        _add(row, label, where, segments)


def _add(row: Mapping[str, str], label: str, where: Place, segments: Segments) -> None:
    if _crosses(row):
        segments.ignore(where, _ACROSS_FILES)
        return
    start_s = seconds_of(row[_BEGIN], "Begin Time (s)", where)
    end_s = seconds_of(row[_END], "End Time (s)", where)
    names = [row[name].strip() for name in (_PATH, _FILE) if row.get(name, "").strip()]
    if names and row.get(_OFFSET, "").strip():
        length_s = end_s - start_s
        if abs(start_s - (offset_s := seconds_of(row[_OFFSET], "File Offset (s)", where))) > 1e-9:
            start_s, end_s = offset_s, round(offset_s + length_s, 9)
    if names:
        recording = segments.recordings.find(names, where.file, where)
    else:
        stem = _TABLE_NAME.sub("", where.file.name)
        recording = segments.recordings.find_stem((stem, Path(stem).stem), where.file)
    segments.add(recording, start_s, end_s, (row[label],), where)


def _crosses(row: Mapping[str, str]) -> bool:
    first, last = row.get(_FILE, "").strip(), row.get(_END_FILE, "").strip()
    return bool(first and last) and first != last


def _label_column(columns: Sequence[str], choice: str | None, path: Path) -> str:
    """The column with the class.

    Raises:
        InputError: If there is none, or several.
    """
    if choice is not None:
        if choice.strip().casefold() in columns:
            return choice.strip().casefold()
        raise InputError(
            "bad-list",
            f"{_WHAT} {path} has no column {choice!r}: its columns are {', '.join(columns)}",
        )
    found = [name for name in _LABELS if name in columns]
    if len(found) != 1:
        has = f"the columns {' and '.join(found)}" if found else "no column 'Annotation'"
        raise InputError(
            "missing-option",
            f"{_WHAT} {path} has {has}: name the column of the class, for example with --format "
            f"'raven/{found[0] if found else columns[-1]}'",
        )
    return found[0]


@register_writer("raven")
def write_raven(tracks: Sequence[Track]) -> Iterator[tuple[str, str]]:
    """Yield a selection table per recording; a span of several labels is several selections.

    The selections cover the frequencies from 0 to 8000 Hz, since Raven shows no selection without
    frequencies; this range is our choice and has no meaning.
    """
    header = (
        *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)"),
        *("High Freq (Hz)", "Begin File", "Annotation"),
    )
    for track in tracks:
        lines = ["\t".join(header)]
        for number, (start_s, end_s, label) in enumerate(intervals(track), 1):
            values = (number, "Spectrogram 1", 1, plain(start_s), plain(end_s), "0.0", "8000.0")
            lines.append("\t".join(map(str, (*values, escape_name(track.path.name), label))))
        yield track.file_name(".Table.1.selections.txt"), "\n".join(lines) + "\n"
