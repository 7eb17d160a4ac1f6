"""Read text tables with a header: separators, column names, rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cign.data.formats.ids import read_text
from cign.errors import InputError

SEPARATORS = ",;\t"

Rows = Iterator[tuple[str, Mapping[str, str]]]


def read_delimited(path: Path, what: str, required: Sequence[str]) -> tuple[list[str], Rows]:
    """Read a text table whose columns are separated by commas, semicolons or tabs.

    Args:
        path: The file, UTF-8 with or without a byte order mark.
        what: Kind of file, for error messages.
        required: Required columns; the separator that yields most of them is used.

    Returns:
        The columns in lower case, and an iterator over the rows. Each row is the line of the file
        where it ends, for error messages, and its values by column. Empty rows are skipped.

    Raises:
        InputError: If it cannot be read, or a column, a row or a quote is wrong.
    """
    text = read_text(path, what)
    separator = _separator(text, set(required))
    # newline="" splits only at the file's line ends: values may contain other line separators.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = next(reader, [])
        if _is_hint(text):
            header = next(reader, [])
    except csv.Error as error:
        raise InputError(
            "bad-list", f"{path} line {reader.line_num}: {error}; correct it"
        ) from None
    columns = column_names(header, f"{what} {path}")

    def rows() -> Rows:
        try:
            for values in reader:
                where = f"{path} line {reader.line_num}"
                if not any(values):
                    continue
                if len(values) != len(columns):
                    raise InputError(
                        "bad-list",
                        f"{where} has {len(values)} values for {len(columns)} columns: put values "
                        f"that contain a {_NAMES[separator]} into double quotes",
                    )
                yield where, dict(zip(columns, values, strict=True))
        except csv.Error as error:
            raise InputError(
                "bad-list", f"{path} line {reader.line_num}: {error}; correct it"
            ) from None

    return columns, rows()


_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


def column_names(header: Sequence[str], what: str) -> list[str]:
    """Return the names of columns in lower case.

    Raises:
        InputError: If two columns have the same name.
    """
    columns = [name.strip().casefold() for name in header]
    repeated = [name for name, number in Counter(columns).items() if name and number > 1]
    if repeated:
        raise InputError(
            "bad-list",
            f"{what} has {columns.count(repeated[0])} columns named {repeated[0]!r}: remove or "
            "rename all but one",
        )
    return columns


def _is_hint(text: str) -> bool:
    """Return whether the first line is a spreadsheet's separator hint, such as ``sep=;``."""
    return text[:4].lower() == "sep=" and text[4:5] in SEPARATORS and text[5:6] in ("\n", "\r")


def _separator(text: str, required: set[str]) -> str:
    if _is_hint(text):
        return text[4]

    def num_found(separator: str) -> int:
        try:
            header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        except csv.Error:
            return 0
        return len(required & {name.strip().casefold() for name in header})

    return max(SEPARATORS, key=num_found)  # ties: the first separator
