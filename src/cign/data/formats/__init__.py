"""Readers of the sources that clips come from, by name.

A reader takes the source's absolute path and the media folders, and gives a `Listing`.
To add one: write its file, and enter it in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cign.data.clips import ClipTable, make_table
from cign.data.formats.folders import read_folders
from cign.data.formats.listing import Listing
from cign.data.formats.table import read_table, table_in
from cign.errors import InputError, one_of

__all__ = ["FORMATS", "Listing", "detect_format", "read_source"]

Reader = Callable[[Path, Sequence[Path]], Listing]

FORMATS: dict[str, Reader] = {"folders": read_folders, "table": read_table}


def detect_format(source: Path) -> str:
    """Name the format of a source from what lies there.

    Raises:
        InputError: If it is a file of a kind that no reader takes.
    """
    if source.is_dir():
        return "table" if table_in(source) else "folders"
    if source.suffix.lower() in (".csv", ".parquet"):
        return "table"
    raise InputError(
        f"source {source} is neither a folder nor a .csv or .parquet table: give one of these, "
        f"or name its format ({', '.join(FORMATS)})"
    )


def read_source(
    source: Path,
    *,
    format: str | None = None,
    media: Sequence[Path] = (),
    min_classes: int = 2,
    require_train: bool = True,
) -> ClipTable:
    """Read the list of clips of a source: a folder of class folders, or a table.

    Args:
        source: A folder, a CSV or a Parquet file. A folder with ``clips.csv`` or
            ``clips.parquet`` at its top is read by that table.
        format: Name of the format in `FORMATS`; found out if absent.
        media: Folders that the listed paths are relative to; the list's own folder if empty.
        min_classes: See `cign.data.clips.make_table`.
        require_train: See `cign.data.clips.make_table`.

    Returns:
        The table. Whether the files exist is not checked.

    Raises:
        InputError: If the source cannot be read or contradicts itself.
    """
    source = Path(source).absolute()
    for folder in media:
        if not Path(folder).is_dir():
            raise InputError(f"media folder {folder} does not exist: check --media")
    if not source.exists():
        raise InputError(f"source {source} does not exist: check the path")
    name = detect_format(source) if format is None else format
    if name not in FORMATS:
        raise one_of(name, FORMATS, "format")
    roots = [Path(folder).absolute() for folder in media]
    listing = FORMATS[name](source, roots)
    return make_table(
        listing.clips,
        alphabetical=listing.alphabetical,
        what=f"source {source}",
        notes=listing.notes,
        min_classes=min_classes,
        require_train=require_train,
    )
