"""Readers of the sources that clips come from, by name.

A reader takes the source's absolute path and the media folders, and gives a `Listing`. It registers
itself with `register_format`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cign.data.clips import ClipTable, make_table
from cign.data.formats.detect import detect_format
from cign.data.formats.labels import with_whole_numbers
from cign.data.formats.listing import Listing
from cign.data.formats.registry import FORMATS, register_format
from cign.data.formats.splits import choose_split
from cign.errors import InputError

__all__ = ["FORMATS", "Listing", "read_source", "register_format"]


def existing(source: Path) -> Path:
    """The whole path of a source.

    Raises:
        InputError: If nothing lies there.
    """
    source = Path(source).absolute()
    if not source.exists():
        raise InputError(f"source {source} does not exist: check the path")
    return source


def read_source(
    source: Path,
    *,
    format: str | None = None,
    media: Sequence[Path] = (),
    split: str | None = None,
    min_classes: int = 2,
    require_train: bool = True,
) -> ClipTable:
    """Read the list of clips of a source: class folders, a table, or a benchmark's own lists.

    Args:
        source: A folder or a list. A folder with ``clips.csv`` or ``clips.parquet`` at its top
            is read by that table.
        format: Name of a registered format, or ``package.module:Name``; found out if absent.
        media: Folders that the listed paths are relative to; the list's own folder if empty.
        split: ``historical`` or ``corrected``, see `cign.data.formats.splits`; the source's own if
            absent and it has any.
        min_classes: See `cign.data.clips.make_table`.
        require_train: See `cign.data.clips.make_table`.

    Returns:
        The table. Whether the files exist is not checked.

    Raises:
        InputError: If the source cannot be read or contradicts itself.
    """
    for folder in media:
        if not Path(folder).is_dir():
            raise InputError(f"media folder {folder} does not exist: check --media")
    source = existing(source)
    name = detect_format(source) if format is None else format
    if name is None:
        raise InputError(
            f"source {source} is neither a folder nor a .csv, .tsv, .parquet or .tar: give one of "
            f"these, or name its format ({', '.join(FORMATS.names)})"
        )
    reader = FORMATS.find(name)
    roots = [Path(folder).absolute() for folder in media]
    what = f"source {source}"
    listing = reader(source, roots)
    if name != "folders":
        listing = with_whole_numbers(listing)
    if split == "corrected":
        # The published list is checked first: what contradicts itself is not divided anew.
        _table(listing, what, 1, False)
    return _table(choose_split(listing, split, what), what, min_classes, require_train)


def _table(listing: Listing, what: str, min_classes: int, require_train: bool) -> ClipTable:
    table = make_table(
        listing.clips,
        alphabetical=listing.alphabetical,
        what=what,
        notes=listing.notes,
        ignored=listing.ignored,
        min_classes=min_classes,
        require_train=require_train,
    )
    if listing.alphabetical or not listing.class_order:
        return table
    known = set(table.class_names)
    first = [name for name in listing.class_order if name in known]
    rest = [name for name in table.class_names if name not in set(first)]
    return replace(table, class_names=(*first, *rest))
