"""Read and write the table of a store's usable clips, as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cign.data.clips import Clip
from cign.utils.file_text import escape_name, unescape_name
from cign.utils.files import replacing

_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("path", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("split", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("source", pa.string()),
        ("boxes", pa.list_(pa.list_(pa.float64()))),
        ("sounds", pa.list_(pa.list_(pa.float64()))),
        ("audio_present", pa.bool_()),
        ("visual_present", pa.bool_()),
        ("audio_ok", pa.bool_()),
        ("visual_ok", pa.bool_()),
        ("silent", pa.bool_()),
        ("still", pa.bool_()),
        ("duration_s", pa.float64()),
        ("window_start_s", pa.float64()),
        ("window_end_s", pa.float64()),
        ("content_hash", pa.string()),
    ]
)
# Written only if a clip has another weight than 1, or a label another share.
_UNCERTAIN = pa.schema([("weight", pa.float64()), ("shares", pa.list_(pa.float64()))])
CLIP_COLUMNS = (
    *("id", "path", "labels", "split", "start_s", "end_s", "source", "boxes", "sounds"),
    *("audio_present", "visual_present"),
)


def write_clips(path: Path, clips: Sequence[Clip], found: Sequence[dict[str, Any]]) -> None:
    """Write clips with the results of decoding them.

    Args:
        path: The Parquet file.
        clips: The usable clips.
        found: For each clip, the columns that `Clip` does not have.
    """
    schema = _SCHEMA
    if any(clip.uncertainty for clip in clips):
        schema = pa.schema([*_SCHEMA, *_UNCERTAIN])
    rows = []
    for clip, columns in zip(clips, found, strict=True):
        row = {name: getattr(clip, name) for name in (*CLIP_COLUMNS, *_UNCERTAIN.names)}
        rows.append({**row, "path": escape_name(str(clip.path)), **columns})
    write_table(path, pa.Table.from_pylist(rows, schema=schema))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
    # Pass an open file: Arrow does not accept paths that are not UTF-8.
    with replacing(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd")


def read_columns(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or the columns of it that are named.

    Raises:
        ArrowException, OSError, ValueError: If it cannot be read.
    """
    with path.open("rb") as file:
        # No background threads: a process that ends while they start would abort.
        columns = None if names is None else list(names)
        return pq.ParquetFile(file, pre_buffer=False).read(columns, use_threads=False)


def read_clips(path: Path) -> tuple[tuple[Clip, ...], dict[str, list[Any]]]:
    """Read the clips and the columns that `Clip` does not have.

    Raises:
        ValueError: If the file cannot be read or was not written by `write_clips`; the message is
            one line.
    """
    try:
        columns = read_columns(path).to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(str(error).splitlines()[0]) from None
    missing = [name for name in _SCHEMA.names if name not in columns]
    if missing:
        raise ValueError(f"{path.name} lacks column {missing[0]}")
    weights = columns.get("weight") or [1.0] * len(columns["id"])
    shares = columns.get("shares") or [()] * len(columns["id"])
    clips = tuple(
        Clip(
            id=values["id"],
            path=Path(unescape_name(values["path"])),
            labels=tuple(values["labels"]),
            split=values["split"],
            start_s=values["start_s"],
            end_s=values["end_s"],
            source=values["source"],
            boxes=tuple((b[0], b[1], b[2], b[3]) for b in values["boxes"]),
            sounds=tuple((s[0], s[1]) for s in values["sounds"]),
            audio_present=values["audio_present"],
            visual_present=values["visual_present"],
            weight=weight,
            shares=tuple(of_labels),
        )
        for values, weight, of_labels in zip(
            (
                dict(zip(CLIP_COLUMNS, row, strict=True))
                for row in zip(*(columns[name] for name in CLIP_COLUMNS), strict=True)
            ),
            weights,
            shares,
            strict=True,
        )
    )
    return clips, {name: columns[name] for name in _SCHEMA.names if name not in CLIP_COLUMNS}
