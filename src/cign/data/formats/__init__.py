"""Readers of the sources that clips come from, by name.

A reader takes the source's absolute path and the media folders, and gives a `Listing`.
To add one: write its file, and enter it in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cign.data.formats.folders import read_folders
from cign.data.formats.listing import Listing
from cign.data.formats.table import read_table, table_in
from cign.errors import InputError

__all__ = ["FORMATS", "Listing", "detect_format"]

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
