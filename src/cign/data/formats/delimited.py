"""Text tables with a header: separators, spellings of the header, rows of the file."""

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
        what: What it is, for error messages.
        required: Columns it should have; the separator that gives most of them counts.

    Returns:
        The columns in lower case, and the rows: the line of the file where each ends, for error
        messages, and its values by column. Empty rows are left out.

    Raises:
        InputError: If it cannot be read, or a column, a row or a quote is wrong.
    """
    text = read_text(path, what)
    separator = _separator(text, set(required))
    # By a file's own line ends alone: other characters that end a line may be in a value.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = next(reader, [])
        if _is_hint(text):
            header = next(reader, [])
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num}: {error}; correct it") from None
    columns = column_names(header, f"{what} {path}")

    def rows() -> Rows:
        try:
            for values in reader:
                where = f"{path} line {reader.line_num}"
                if not any(values):
                    continue
                if len(values) != len(columns):
                    raise InputError(
                        f"{where} has {len(values)} values for {len(columns)} columns: put values "
                        f"that hold a {_NAMES[separator]} into double quotes"
                    )
                yield where, dict(zip(columns, values, strict=True))
        except csv.Error as error:
            raise InputError(f"{path} line {reader.line_num}: {error}; correct it") from None

    return columns, rows()


_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


def column_names(header: Sequence[str], what: str) -> list[str]:
    """The names of columns in lower case.

    Raises:
        InputError: If two columns have one name: which of them counts cannot be known.
    """
    columns = [name.strip().casefold() for name in header]
    twice = [name for name, number in Counter(columns).items() if name and number > 1]
    if twice:
        raise InputError(
            f"{what} has {columns.count(twice[0])} columns {twice[0]!r}: keep one, or rename the "
            "other"
        )
    return columns


def _is_hint(text: str) -> bool:
    """Whether the first line is that of a spreadsheet program, ``sep=;``."""
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

    return max(SEPARATORS, key=num_found)  # the first of equals
