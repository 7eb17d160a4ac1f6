"""Readers of sources of clips, by name.

A reader takes the source's absolute path and the media folders, and returns a `Listing`. It is
registered with `register_format`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cign.data.clips import ClipTable, make_table
from cign.data.formats.detect import detect_format
from cign.data.formats.labels import with_whole_numbers
from cign.data.formats.listing import Listing
from cign.data.formats.registry import FORMATS, register_format, split_name
from cign.data.formats.splits import choose_split
from cign.errors import InputError

__all__ = ["FORMATS", "Listing", "read_source", "register_format"]


def existing(source: Path) -> Path:
    """Return the absolute path of a source.

    Raises:
        InputError: If the path does not exist.
    """
    source = Path(source).absolute()
    if not source.exists():
        raise InputError("file-missing", f"source {source} does not exist: check the path")
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
            is read from that table.
        format: Name of a registered format, or ``package.module:Name``; detected if absent. Some
            formats take a choice after ``/``, as in ``elan/calls``.
        media: Folders that the listed paths are relative to; the list's own folder if empty.
        split: ``historical`` or ``corrected``, see `cign.data.formats.splits`; if absent, the
            source's own splits are used if it has any.
        min_classes: See `cign.data.clips.make_table`.
        require_train: See `cign.data.clips.make_table`.

    Returns:
        The table. Whether the files exist is not checked.

    Raises:
        InputError: If the source cannot be read or contradicts itself.
    """
    for folder in media:
        if not Path(folder).is_dir():
            raise InputError("file-missing", f"media folder {folder} does not exist: check --media")
    source = existing(source)
    name = detect_format(source) if format is None else format
    if name is None:
        raise InputError(
            "wrong-format",
            f"source {source} is neither a folder nor a .csv, .tsv, .parquet or .tar: give one of "
            f"these, or name its format ({', '.join(FORMATS.names)})",
        )
    name, choice = split_name(name)
    reader = FORMATS.find(name)
    roots = [Path(folder).absolute() for folder in media]
    what = f"source {source}"
    listing = reader(source, roots) if choice is None else reader(source, roots, choice=choice)
    if name != "folders":
        listing = with_whole_numbers(listing)
    return table_of(
        listing, what, split=split, min_classes=min_classes, require_train=require_train
    )


def table_of(
    listing: Listing, what: str, *, split: str | None, min_classes: int, require_train: bool
) -> ClipTable:
    """Choose the splits of a listing and check it as a whole.

    Args:
        listing: What a reader returned.
        what: The source, for error messages.
        split: See `read_source`.
        min_classes: See `read_source`.
        require_train: See `read_source`.

    Raises:
        InputError: If the listing contradicts itself.
    """
    if split == "corrected":
        # Check the published list first: a contradictory list must not be split again.
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
