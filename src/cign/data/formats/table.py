"""Reader of clips listed in a table: CSV or Parquet with a header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cign.data.clips import Clip, check_repeated, check_times
from cign.data.clips import clip_id as make_id
from cign.data.formats.delimited import column_names, read_delimited
from cign.data.formats.label_texts import parse_labels, parse_weight, refuse_numbered
from cign.data.formats.labels import is_missing
from cign.data.formats.listing import Listing
from cign.data.formats.paths import find_media, local_path, relative_inside
from cign.data.formats.registry import register_format
from cign.data.formats.split_names import sure_split
from cign.errors import InputError, one_of
from cign.utils.file_text import escape_name
from cign.vocabulary import SPLITS

Rows = Iterator[tuple[str, Mapping[str, Any]]]

REQUIRED = ("path", "labels", "split")
OPTIONAL = (
    "start_s",
    "end_s",
    "source",
    "box",
    "sound_start_s",
    "sound_end_s",
    "audio_present",
    "visual_present",
    "weight",
)
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
TABLE_NAMES = ("clips.csv", "clips.parquet")


def table_in(folder: Path) -> Path | None:
    """Find the table at the top of a folder, where ``cign synth`` writes it."""
    for name in TABLE_NAMES:
        if (folder / name).is_file():
            return folder / name
    return None


@register_format("table")
def read_table(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read a table with the columns of `REQUIRED` and any of `OPTIONAL`.

    Several labels, boxes and times of sounds are joined by ``|``; in a Parquet file they may be
    lists. The splits of the rows are used unchanged. Labels may have shares, and the label ``none``
    is for clips with none of the classes (`cign.data.formats.label_texts`).

    Args:
        source: The table, or a folder with a table at its top.
        media: Folders that paths are relative to; the first folder that has the file is used.
            The table's own folder if empty.

    Raises:
        InputError: If the table is invalid; the message names the line, the error and the remedy.
    """
    table = source
    if source.is_dir():
        found = table_in(source)
        if found is None:
            raise InputError(
                "file-missing", f"folder {source} contains no {' or '.join(TABLE_NAMES)}: add one"
            )
        table = found
    if table.suffix.lower() == ".parquet":
        columns, rows = read_parquet(table)
    else:
        columns, rows = read_delimited(table, "table", REQUIRED)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InputError(
            "wrong-format",
            f"table {table} has no column {missing[0]!r}: its header must name "
            f"{', '.join(REQUIRED)}; for the list of a benchmark give its --format",
        )
    ignored = [name or "without a name" for name in columns if name not in REQUIRED + OPTIONAL]
    notes = (f"columns {', '.join(ignored)} of {table.name} were ignored",) if ignored else ()
    return Listing(clips=_clips(rows, list(media) or [table.parent], table), notes=notes)


def _clips(rows: Rows, roots: Sequence[Path], table: Path) -> tuple[Clip, ...]:
    """Return the clips of all rows; an error names rows that contradict each other."""
    clips: list[Clip] = []
    first_of: dict[str, tuple[str, Clip]] = {}
    texts: dict[Any, str] = {}
    for where, row in rows:
        texts.update((text, where) for text in labels_of(row["labels"]))
        path = local_path(text_of(row["path"]), roots, where)
        clip = clip_of_row({**row, "path": path}, where, roots)
        first_where, first = first_of.setdefault(clip.id, (where, clip))
        if first is not clip:
            rows_of = " and ".join(x.removeprefix(f"{table} ") for x in (first_where, where))
            check_repeated(first, clip, f"table {table} ({rows_of})")
        clips.append(clip)
    refuse_numbered((where, text) for text, where in texts.items())
    return tuple(clips)


def read_parquet(table: Path, names: Sequence[str] | None = None) -> tuple[list[str], Rows]:
    """Return the columns of a Parquet file in lower case, and an iterator over its rows.

    Args:
        table: The file.
        names: The columns to read, by their names in the file; all if absent.

    Raises:
        InputError: If it is not valid.
    """
    import pyarrow as pa

    from cign.data.clip_file import read_columns

    try:
        content = read_columns(table, names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            "wrong-format", f"table {table} is not valid Parquet ({reason}): write it again"
        ) from None
    columns = column_names(content.column_names, f"table {table}")

    def rows() -> Rows:
        number = 0
        for batch in content.rename_columns(columns).to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                number += 1
                yield f"{table} row {number}", row

    return columns, rows()


def clip_of_row(row: Mapping[str, Any], where: str, roots: Sequence[Path]) -> Clip:
    """Create a clip from a row with the columns of `REQUIRED` and any of `OPTIONAL`.

    Raises:
        InputError: If the row is invalid; the message names ``where``, the error and the remedy.
    """
    relative = relative_inside(text_of(row["path"]), roots, where)
    identity = escape_name(relative)
    labels, shares = parse_labels(labels_of(row["labels"]), where)
    split = sure_split(text_of(row["split"]))
    if split is None:
        raise one_of(text_of(row["split"]), SPLITS, f"split in {where}")
    start_s, end_s = (number_of(row.get(name), name, where) for name in ("start_s", "end_s"))
    check_times(start_s, end_s, where)
    boxes, sounds = _boxes(row.get("box"), where), _sounds(row, where)
    for name, found in (("boxes", boxes), ("sounds", sounds)):
        # A single label may have several boxes: several objects, as in VGG-Sound Sources.
        several = name == "boxes" and len(labels) == 1
        if len(found) not in (0, len(labels)) and not several:
            raise InputError(
                "bad-list",
                f"{where}: {len(found)} {name} for {len(labels)} labels; "
                "give one per label or none",
            )
    return Clip(
        id=make_id(identity, start_s, end_s),
        path=find_media(relative, roots),
        labels=labels,
        split=split,
        start_s=start_s,
        end_s=end_s,
        source=source_of(row.get("source"), where) or identity,
        boxes=boxes,
        sounds=sounds,
        audio_present=_flag(row.get("audio_present"), "audio_present", where),
        visual_present=_flag(row.get("visual_present"), "visual_present", where),
        weight=parse_weight(row.get("weight"), where),
        shares=shares,
    )


def text_of(value: Any) -> str:
    """Return a value as text; empty for null, and for NaN, which some programs write instead."""
    return "" if not isinstance(value, str) and is_missing(value) else str(value).strip()


def _items(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [text_of(item) for item in value]
    return text_of(value).split("|") if text_of(value) else []


def labels_of(value: Any) -> Sequence[Any]:
    """Return the labels of a row unconverted, so that a missing label can be detected."""
    if isinstance(value, (list, tuple)):
        return value or [""]
    return value.split("|") if isinstance(value, str) else [value]


def source_of(value: Any, where: str) -> str:
    """Return the recording; empty for a missing value in any spelling."""
    if is_missing(value):
        return ""
    text = text_of(value)
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InputError(
            "bad-list", f"{where}: source {value!r} is not valid text; correct it"
        ) from None
    return escape_name(text)


def number_of(value: Any, name: str, where: str) -> float | None:
    """Return a number of seconds or None if the value is missing.

    Raises:
        InputError: If it is not a number.
    """
    if value is None or str(value).strip() == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            "bad-list", f"{where}: {name} is {value!r}; give a number of seconds"
        ) from None


def _flag(value: Any, name: str, where: str) -> bool | None:
    flags = {"": None, "true": True, "1": True, "false": False, "0": False}
    text = text_of(value).lower().removesuffix(".0")
    if text not in flags:
        raise InputError("bad-list", f"{where}: {name} is {value!r}; give true, false or nothing")
    return flags[text]


def _boxes(value: Any, where: str) -> tuple[tuple[float, float, float, float], ...]:
    boxes = []
    for item in value if isinstance(value, (list, tuple)) else _items(value):
        parts = item.replace(";", ",").split(",") if isinstance(item, str) else list(item)
        numbers = [number_of(part, "box", where) for part in parts]
        given = [number for number in numbers if number is not None]
        if not numbers or numbers == [None]:
            continue  # a label without a visible object
        # Comparisons with NaN are false, so NaN is rejected too.
        inside = len(given) == 4 and all(-1e-6 <= x <= 1 + 1e-6 for x in given)
        if not inside or not (given[0] < given[2] and given[1] < given[3]):
            raise InputError(
                "bad-list", f"{where}: box {item!r} is not x0,y0,x1,y1 in [0, 1]; correct it"
            )
        boxes.append((given[0], given[1], given[2], given[3]))
    return tuple(boxes)


def _sounds(row: Mapping[str, Any], where: str) -> tuple[tuple[float, float], ...]:
    ends = [
        [number_of(item, name, where) for item in _items(row.get(name))]
        for name in ("sound_start_s", "sound_end_s")
    ]
    if len(ends[0]) != len(ends[1]):
        raise InputError(
            "bad-list", f"{where}: sound_start_s and sound_end_s differ in number; correct them"
        )
    sounds = []
    for start_s, end_s in zip(*ends, strict=True):
        if start_s is None or end_s is None:
            continue
        check_times(start_s, end_s, where)
        sounds.append((start_s, end_s))
    return tuple(sounds)
