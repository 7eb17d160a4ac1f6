"""Sources of precomputed features: ``.npz`` archives, folders of arrays, tables, dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.arrays import ARRAY_ERRORS
from cign.data.formats.delimited import read_delimited
from cign.data.formats.features.columns import COLUMNS, OPTIONAL, Columns, column
from cign.data.formats.features.lists import is_list, list_array, parquet_schema
from cign.data.formats.features.rows import ArrayRows, FileRows, Rows, load_array, unreadable
from cign.data.formats.labels import is_missing
from cign.data.formats.listing import Listing
from cign.data.formats.paths import find_media, local_path, relative_inside
from cign.data.formats.registry import register_format
from cign.data.formats.table import TABLE_NAMES, TABLE_SUFFIXES, read_parquet, table_in
from cign.errors import InputError

ARCHIVE = ".npz"
KINDS = ("audio", "visual")
ARRAYS = tuple(f"{kind}.npy" for kind in KINDS)

# Clips of a dictionary have no file.
IN_MEMORY = Path("<arrays>")

FeatureSource = Path | Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of clips, as their source gives them; row i of both arrays is clip i.

    Attributes:
        listing: The clips, with a unique id each.
        audio: Audio features.
        visual: Visual features.
        has_splits: Whether the splits are the source's own.
    """

    listing: Listing
    audio: Rows
    visual: Rows
    has_splits: bool


def holds_features(source: Path) -> bool:
    """Whether a source holds features and not clips.

    It does if it is an ``.npz`` file, a folder with ``audio.npy`` and ``visual.npy``, or a table
    with the columns ``audio`` and ``visual`` and without ``path``.
    """
    table = source
    if source.is_dir():
        if all((source / name).is_file() for name in ARRAYS):
            return True
        found = table_in(source)
        if found is None:
            return False
        table = found
    elif source.suffix.lower() == ARCHIVE:
        return True
    if table.suffix.lower() not in TABLE_SUFFIXES:
        return False
    try:
        names = _names_in(table)
    except InputError:  # the reader of the format that is detected instead reports it
        return False
    return set(KINDS) <= names and "path" not in names


def _names_in(table: Path) -> set[str]:
    """The columns of a table in lower case."""
    if table.suffix.lower() == ".parquet":
        return set(parquet_schema(table))
    return set(read_delimited(table, "table", (*KINDS, *COLUMNS))[0])


@register_format("features")
def read_features(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read the clips of precomputed features; see `open_features`."""
    return open_features(source, media).listing


def open_features(source: FeatureSource, media: Sequence[Path] = ()) -> Features:
    """Open features; large arrays are mapped into memory or read when needed.

    Args:
        source: An ``.npz`` file or a dictionary with ``audio``, ``visual``, ``labels`` and any of
            `OPTIONAL`; a folder with ``audio.npy``, ``visual.npy`` and ``clips.csv`` or
            ``clips.parquet``; or a table whose columns ``audio`` and ``visual`` hold lists of
            numbers or names of ``.npy`` files.
        media: Folders that names of ``.npy`` files are relative to; the table's own if empty.

    Raises:
        InputError: If something is missing, damaged or contradictory.
    """
    if isinstance(source, Mapping):
        return _of_arrays(source, "the dictionary of features", IN_MEMORY)
    if source.is_dir() and all((source / name).is_file() for name in ARRAYS):
        _without_media(media, source)
        return _of_folder(source)
    if source.suffix.lower() == ARCHIVE:
        _without_media(media, source)
        return _of_archive(source)
    table = table_in(source) if source.is_dir() else source
    if table is None or table.suffix.lower() not in TABLE_SUFFIXES:
        raise InputError(
            "bad-list",
            f"{source} holds no features: add {' and '.join(ARRAYS)} with "
            f"{' or '.join(TABLE_NAMES)}",
        )
    return _of_table(table, [Path(root).absolute() for root in media] or [table.parent])


def _without_media(media: Sequence[Path], source: Path) -> None:
    if media:
        raise InputError(
            "conflicting-options",
            f"--media has no effect for {source}, which holds its features itself: leave it out",
        )


# ---------------------------------------------------------------- archives and dictionaries


def _of_archive(path: Path) -> Features:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise InputError(
                    "wrong-format", f"{path} is a single array: save several with numpy.savez"
                )
            arrays = {name: archive[name] for name in archive.files}
    except ARRAY_ERRORS as error:
        raise unreadable(path, error) from None
    return _of_arrays(arrays, str(path), path)


def _of_arrays(arrays: Mapping[str, Any], what: str, path: Path) -> Features:
    missing = [name for name in (*KINDS, "labels") if name not in arrays]
    if missing:
        raise InputError(
            "bad-list",
            f"{what} has no {missing[0]!r} (it has {', '.join(map(str, arrays)) or 'nothing'}): "
            f"give {', '.join(KINDS)}, labels and, if you like, {', '.join(OPTIONAL)}",
        )
    audio, visual = (
        ArrayRows(_array(arrays[kind], kind, what), f"{kind} of {what}") for kind in KINDS
    )
    values = {name: column(arrays[name], name, what) for name in COLUMNS if name in arrays}
    columns = Columns(values=values, what=what, where=lambda row: f"{what} row {row}", path=path)
    ignored = [str(name) for name in arrays if name not in (*KINDS, *COLUMNS)]
    notes = (f"{', '.join(ignored)} of {what} were ignored",) if ignored else ()
    return _joined(audio, visual, columns, notes)


def _array(values: Any, kind: str, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            "bad-list",
            f"{kind} of {what} is not an array: give numbers of the shape [clips, width] or "
            "[clips, tokens, width], the same number of tokens for each clip",
        ) from None


def _joined(audio: Rows, visual: Rows, columns: Columns, notes: Sequence[str]) -> Features:
    """Features and clips of the same number.

    Raises:
        InputError: If their numbers differ, or a value of the clips is wrong.
    """
    lengths = {"audio": audio.shape[0], "visual": visual.shape[0], **columns.lengths}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{number} of {name}" for name, number in lengths.items())
        raise InputError("bad-list", f"{columns.what} has {shown}: give one of each for every clip")
    return Features(
        listing=columns.listing(notes),
        audio=audio,
        visual=visual,
        has_splits="split" in columns.values,
    )


# ---------------------------------------------------------------- folders and tables


def _of_folder(folder: Path) -> Features:
    table = table_in(folder)
    if table is None:
        raise InputError(
            "bad-list",
            f"folder {folder} has {' and '.join(ARRAYS)}, but no {' or '.join(TABLE_NAMES)}: add a "
            f"table with the columns labels and, if you like, {', '.join(OPTIONAL)}",
        )
    audio, visual = (
        ArrayRows(load_array(folder / name, mapped=True), str(folder / name)) for name in ARRAYS
    )
    columns, notes, _ = _columns_of(table)
    return _joined(audio, visual, columns, notes)


def _columns_of(table: Path) -> tuple[Columns, tuple[str, ...], dict[str, list[Any]]]:
    """The clips of a table, a note on ignored columns, and its columns ``audio`` and ``visual``.

    The lists of numbers in a Parquet file are not among them: see `list_array`.

    Raises:
        InputError: If the table is invalid.
    """
    if table.suffix.lower() == ".parquet":
        fields = parquet_schema(table)
        lists = [kind for kind in KINDS if kind in fields and is_list(fields[kind])]
        read = [field.name for name, field in fields.items() if name not in lists]
        names, rows = read_parquet(table, read)
    else:
        names, rows = read_delimited(table, "table", (*KINDS, *COLUMNS))
    if "labels" not in names:
        raise InputError("bad-list", f"table {table} has no column 'labels': add it")
    places: list[str] = []
    values: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, *KINDS) if name in names}
    for where, row in rows:
        places.append(where)
        for name, column_values in values.items():
            column_values.append(row[name])
    if not places:
        raise InputError("no-clips", f"table {table} contains no clips: check the file")
    features = {kind: values.pop(kind) for kind in KINDS if kind in values}
    ignored = [name or "without a name" for name in names if name not in (*COLUMNS, *KINDS)]
    notes = (f"columns {', '.join(ignored)} of {table.name} were ignored",) if ignored else ()
    return (
        Columns(values=values, what=f"table {table}", where=places.__getitem__, path=table),
        notes,
        features,
    )


def _of_table(table: Path, roots: Sequence[Path]) -> Features:
    if not set(KINDS) <= _names_in(table):
        raise InputError(
            "bad-list",
            f"table {table} has no columns {' and '.join(KINDS)}: give lists of numbers or names "
            "of .npy files in them",
        )
    columns, notes, files = _columns_of(table)
    audio, visual = (
        _file_rows(files[kind], kind, columns, roots)
        if kind in files
        else ArrayRows(list_array(table, kind), f"column {kind} of table {table}")
        for kind in KINDS
    )
    return _joined(audio, visual, columns, notes)


def _file_rows(
    names: Sequence[Any], kind: str, columns: Columns, roots: Sequence[Path]
) -> FileRows:
    """The features in the files that a column names."""
    paths = []
    for row, name in enumerate(names):
        where = columns.where(row)
        if is_missing(name) or not isinstance(name, str):
            raise InputError("bad-list", f"{where}: column {kind} names no .npy file: add it")
        relative = relative_inside(local_path(name.strip(), roots, where), roots, where)
        paths.append(find_media(relative, roots))
    return FileRows(paths, f"column {kind} of {columns.what}")
