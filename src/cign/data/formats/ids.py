"""Shared parts of the readers of lists of recordings: rows, ids, placeholders."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cign.data.clips import check_label
from cign.data.formats.lookup import Name
from cign.errors import InputError

PLACEHOLDER = "-"
CLASS_LIST = "classes.txt"

_VIDEO = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CLIP = re.compile(r"([A-Za-z0-9_-]{1,64})_([0-9]{1,6})")


def read_text(path: Path, what: str) -> str:
    """Read a list as UTF-8.

    Raises:
        InputError: If it does not exist, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            "file-unreadable", f"{what} {path} is not UTF-8 text: save it as UTF-8"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            "file-unreadable", f"{what} {path} cannot be read ({reason}): check the path"
        ) from None


def read_lines(path: Path, what: str) -> list[str]:
    """Read the lines of a list, with the line numbers of text editors."""
    text = read_text(path, what).removesuffix("\n")  # reading has normalised all line ends
    return text.split("\n") if text else []


def read_rows(path: Path, num_columns: int, columns: str) -> Iterator[tuple[str, list[str]]]:
    """Read the rows of a comma-separated list without a header; empty lines are skipped.

    Args:
        path: The list.
        num_columns: Number of values in each row.
        columns: Names of the columns, for the error message.

    Yields:
        The location of a row, for error messages, and its values.

    Raises:
        InputError: If a row has another number of values; the message names the first.
    """
    # newline="" splits only at the file's line ends: labels may contain other line separators.
    reader = csv.reader(io.StringIO(read_text(path, "list"), newline=""), strict=True)
    try:
        for values in reader:
            if not values:
                continue
            where = f"{path} line {reader.line_num}"
            if len(values) != num_columns:
                raise InputError(
                    "bad-list",
                    f"{where} has {len(values)} values, not {columns}: give a list in this form, "
                    "with labels that contain a comma in double quotes",
                )
            yield where, values
    except csv.Error as error:
        raise InputError(
            "bad-list", f"{path} line {reader.line_num}: {error}; correct it"
        ) from None


def check_video(video: str, where: str) -> str:
    """Check the id of a recording.

    Raises:
        InputError: If it could be a path, or contains characters that YouTube ids do not have.
    """
    if _VIDEO.fullmatch(video):
        return video
    raise _invalid_id(video, where)


def clip_name(text: str, where: str) -> Name:
    """Parse ``VIDEO_START`` with the start in seconds, such as ``2y6cgp3y8pM_000030``.

    Raises:
        InputError: If the text has another form.
    """
    match = _CLIP.fullmatch(text)
    if match is None:
        raise _invalid_id(text, where)
    start_s = int(match[2])
    return Name(match[1], start_s, start_s + 10)


def _invalid_id(text: str, where: str) -> InputError:
    if "/" in text or "\\" in text or ".." in text:
        return InputError(
            "bad-list",
            f"{where}: id {text!r} is a path and could leave the media folder: write only the id, "
            "and give the folder with --media",
        )
    if not _VIDEO.fullmatch(text):
        return InputError(
            "bad-list",
            f"{where}: id {text!r} contains other characters than letters, digits, '-' and '_' "
            "(or is empty or too long): correct or remove the row",
        )
    return InputError(
        "bad-list",
        f"{where}: id {text!r} is not VIDEO_START with the start in seconds, such as "
        "2y6cgp3y8pM_000030: correct the row, or give the --format of this list",
    )


def seconds(text: str, where: str) -> int:
    """Read a start in whole seconds.

    Raises:
        InputError: If it is not a number from 0 to below 1,000,000.
    """
    try:
        value = float(text)
        if 0 <= value < 1e6:
            return int(value)
    except ValueError:
        pass
    raise InputError(
        "bad-list", f"{where}: start {text!r} is not a number of seconds >= 0; correct it"
    )


def class_list(folder: Path) -> tuple[str, ...]:
    """Read the class list next to a list, one class per line; empty if there is no class list.

    Raises:
        InputError: If it names a class twice, or names no class.
    """
    path = folder / CLASS_LIST
    if not path.is_file():
        return ()
    lines = read_lines(path, "class list")
    names = [check_label(line, f"class list {path}") for line in lines if line.strip()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            "bad-list", f"class list {path} names {repeated[0]!r} twice: name each class once"
        )
    if not names:
        raise InputError(
            "bad-list", f"class list {path} is empty: write one class per line, or remove it"
        )
    return tuple(names)


def listed_in(source: Path, names: Sequence[str], what: str) -> list[Path]:
    """Return the list files of a source: the file itself, or the named files in its folder.

    Raises:
        InputError: If the folder contains none of them.
    """
    if source.is_file():
        return [source]
    found = [source / name for name in names if (source / name).is_file()]
    if not found:
        raise InputError(
            "file-missing",
            f"folder {source} contains none of {', '.join(names)}: give the folder of the lists of "
            f"{what}, or another --format",
        )
    return found


def folder_of(source: Path) -> Path:
    """Return the folder of a source's files."""
    return source if source.is_dir() else source.parent


def placeholder_note(num: int) -> tuple[str, ...]:
    """Return a note on the number of rows without an id."""
    if not num:
        return ()
    return (f"{num} rows have {PLACEHOLDER!r} instead of an id and were left out",)
