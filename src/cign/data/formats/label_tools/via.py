"""Temporal segments of VIA 3 (VGG Image Annotator, Dutta and Zisserman 2019), exported as CSV.

Comments before the rows name the columns (``# CSV_HEADER = ...``) and, in the complete export, the
attributes with the ids of their options (``# ATTRIBUTE = {...}``).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cign.data.formats.label_tools.segments import POINT, Place, Segments
from cign.data.formats.label_tools.text import (
    begin_of,
    is_label_folder,
    label_files,
    read_label_text,
    seconds_of,
)
from cign.data.formats.label_tools.tracks import Track, intervals, register_writer
from cign.data.formats.listing import Listing
from cign.data.formats.registry import register_format
from cign.errors import InputError, one_of
from cign.utils.file_text import escape_name
from cign.utils.files import parse_json

_WHAT = "export of VIA"
_TITLE = "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)"
_HEADER, _ATTRIBUTE = "# csv_header =", "# attribute ="
_COLUMNS = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"
_START, _END, _BOTH = "temporal_segment_start", "temporal_segment_end", "temporal_coordinates"
_REGION = "a region in a frame"
_NAME = "class"  # of the attribute that is written
_TEXT_TYPE = 1  # VIA's number of an attribute of free text
_SEGMENT_ANCHOR = "FILE1_Z2_XY0"  # VIA's name of an attribute of two times and no region


def is_via(path: Path, source: Path) -> bool:
    """Whether a file is an export of VIA 3, by its first comments."""
    begin = begin_of(path).lower()
    return begin.startswith("#") and _HEADER in begin and is_label_folder(source)


@register_format(
    "via",
    files=(re.compile(r".*\.csv", re.IGNORECASE),),
    content=is_via,
    states_splits=False,
    choices=True,
)
def read_via(source: Path, media: Sequence[Path] = (), *, choice: str | None = None) -> Listing:
    """Read the temporal segments of CSV exports; regions and single frames are ignored.

    Args:
        source: An export, or a folder with exports at any depth.
        media: Folders with the recordings; the folder of the exports if empty.
        choice: Name of the attribute that holds the class; all attributes if absent.

    Raises:
        InputError: If there is no export, or a row is wrong.
    """
    segments = Segments(source, media)
    paths = label_files(source, (".csv",), "VIA")
    exports = [path for path in paths if source.is_file() or is_via(path, path)]
    if not exports:
        raise InputError(
            "wrong-format",
            f"folder {source} contains no .csv with '# CSV_HEADER': export annotations of VIA 3",
        )
    names: dict[str, None] = {}
    for path in exports:
        names |= _read_export(path, choice, segments)
    if choice is not None and choice not in names:
        raise one_of(choice, list(names), f"attribute of {source}")
    return segments.listing()


def _read_export(path: Path, choice: str | None, segments: Segments) -> dict[str, None]:
    """Add the segments of an export, and return the names of its attributes."""
    lines = read_label_text(path, _WHAT).split("\n")
    columns: list[str] = []
    attributes: Mapping[str, Any] = {}
    first = 0
    for first, line in enumerate(lines):
        if line.lower().startswith(_HEADER):
            columns = [name.strip() for name in line[len(_HEADER) :].split(",")]
        elif line.lower().startswith(_ATTRIBUTE):
            attributes = _json(line[len(_ATTRIBUTE) :], Place(path, f"line {first + 1}"), dict)
        elif line.strip() and not line.startswith("#"):
            break
    has_times = _BOTH in columns or {_START, _END} <= set(columns)
    if not has_times or not {"file_list", "metadata"} <= set(columns):
        raise InputError(
            "wrong-format",
            f"{path} has no '# CSV_HEADER' with file_list, metadata and times: export the "
            "annotations of VIA 3 as CSV",
        )
    names: dict[str, None] = {}
    rows = csv.reader(io.StringIO("\n".join(lines[first:]), newline=""))
    try:
        for values in rows:
            where = Place(path, f"line {first + rows.line_num}")
            if not any(values) or values[0].startswith("#"):
                continue
            if len(values) != len(columns):
                raise InputError(
                    "bad-list",
                    f"{where} has {len(values)} values for {len(columns)} columns: export again",
                )
            row = dict(zip(columns, values, strict=True))
            names |= _add(row, attributes, choice, where, segments)
    except csv.Error as error:
        raise InputError("bad-list", f"{path} line {first + rows.line_num}: {error}") from None
    return names


def _add(
    row: Mapping[str, str],
    attributes: Mapping[str, Any],
    choice: str | None,
    where: Place,
    segments: Segments,
) -> dict[str, None]:
    """Add the segment of a row, and return the names of its attributes."""
    metadata = _json(row["metadata"], where, dict)
    given = {
        _attribute(key, attributes): _values(metadata[key], key, attributes) for key in metadata
    }
    times = _json(row[_BOTH], where, list) if _BOTH in row else [row[_START], row[_END]]
    spatial = row.get("spatial_coordinates", "").strip()
    if spatial and _json(spatial, where, list):
        segments.ignore(where, _REGION)
    elif len(times) == 1:
        segments.ignore(where, POINT)
    elif times or choice in (None, *given):
        files = _json(row["file_list"], where, list)
        if not files or not isinstance(files[0], str):
            raise InputError("bad-list", f"{where} names no file: export the annotations again")
        if len(times) not in (0, 2):
            raise InputError("bad-list", f"{where} has {len(times)} times, not start and end")
        start_s, end_s = (
            (
                seconds_of(text, name, where)
                for text, name in zip(times, ("start", "end"), strict=True)
            )
            if times
            else (None, None)
        )
        labels = [x for name, found in given.items() if choice in (None, name) for x in found]
        recording = segments.recordings.find((files[0],), where.file, where)
        segments.add(recording, start_s, end_s, labels, where)
    return dict.fromkeys(given)


def _attribute(key: str, attributes: Mapping[str, Any]) -> str:
    """The name of an attribute by its id; the name itself in exports of segments only."""
    found = attributes.get(key)
    return str(found.get("aname", key)) if isinstance(found, dict) else key


def _values(value: object, key: str, attributes: Mapping[str, Any]) -> list[str]:
    """The texts of a value: the options with the listed ids, or the text itself."""
    found = attributes.get(key)
    options = found.get("options") if isinstance(found, dict) else None
    if not isinstance(options, dict):
        options = {}
    text = str(value)
    ids = text.split(",")
    # VIA lists options by id only in attributes with options; a text may contain a comma.
    if isinstance(found, dict) and found.get("type") != _TEXT_TYPE and set(ids) <= set(options):
        return [str(options[one]) for one in ids]
    return [text]


def _json(text: str, where: Place, kind: type[Any]) -> Any:
    try:
        value = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            "bad-list", f"{where}: {text[:40]!r} is not JSON ({error}): export again"
        ) from None
    if not isinstance(value, kind):
        raise InputError(
            "bad-list", f"{where}: {text[:40]!r} is not a JSON {kind.__name__}: export again"
        )
    return value


@register_writer("via")
def write_via(tracks: Sequence[Track]) -> Iterator[tuple[str, str]]:
    """Yield one export of all recordings; a span of several labels is several rows."""
    attribute = {
        "1": {
            "aname": _NAME,
            "anchor_id": _SEGMENT_ANCHOR,
            "type": _TEXT_TYPE,
            "desc": "",
            "options": {},
            "default_option_id": "",
        }
    }
    text = io.StringIO()
    text.write(f"{_TITLE}\n# ATTRIBUTE = {json.dumps(attribute)}\n# CSV_HEADER = {_COLUMNS}\n")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for number, track in enumerate(tracks, 1):
        name = escape_name(track.name)
        for start_s, end_s, label in intervals(track):
            key = hashlib.sha256(f"{name}\0{start_s}\0{end_s}\0{label}".encode()).hexdigest()[:8]
            writer.writerow(
                (
                    f"{number}_{key}",
                    json.dumps([name], ensure_ascii=False),
                    0,
                    json.dumps([start_s, end_s]),
                    "[]",
                    json.dumps({"1": label}, ensure_ascii=False),
                )
            )
    yield "via.csv", text.getvalue()
