"""Inputs of predictions: files, folders, glob patterns, arrays.

This module does not import torch.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from cign.data.clips import Clip
from cign.data.media.addresses import Address, is_address, parse_address
from cign.data.media.array_clip import ArrayClip
from cign.data.media.recognition import is_media
from cign.data.media.side_by_side import Pause
from cign.errors import Code, InputError


@dataclass(frozen=True)
class NoFile:
    """An input without a media file.

    Attributes:
        name: The name as given.
        reason: Why there is no file.
        code: The same as a code of docs/errors.md.
    """

    name: str
    reason: str
    code: Code


# A `Clip`, a part of a file, comes only from lists that `cign` has read.
Input: TypeAlias = str | Path | Address | ArrayClip | Clip | NoFile | Pause
Given: TypeAlias = str | os.PathLike[str] | ArrayClip | Iterable[str | os.PathLike[str] | ArrayClip]


def as_inputs(given: Any) -> Iterator[Input]:
    """Expand inputs into files and arrays, in order.

    The URL of a file on a web server is a file, too; the URL of a stream gives a `NoFile`.

    A folder expands to all media files in it and its subfolders, in alphabetical order; hidden
    files and folders are ignored. A name with ``*``, ``?`` or ``[...]`` is a pattern unless a file
    has that name; ``**`` matches any number of folders. A folder or pattern without a media file
    gives a `NoFile`.

    Args:
        given: A path, a folder, a pattern, an array clip, or an iterable of these. A single input
            and a list are checked at once, the items of an iterator as they arrive.

    Raises:
        InputError: If an input has another type.
    """
    if isinstance(given, (str, os.PathLike, ArrayClip)):
        given = [given]
    if not isinstance(given, Iterable):
        raise _wrong(given)
    if isinstance(given, (list, tuple)):
        for one in given:
            _check(one)
    return _expanded(given)


def _expanded(given: Iterable[Any]) -> Iterator[Input]:
    for one in given:
        _check(one)
        if isinstance(one, (Address, ArrayClip, NoFile, Pause)):
            yield one
        elif is_address(one):
            yield _remote(os.fspath(one))
        elif _is_folder(one):
            yield from _or_none(media_below(one), one, "this folder holds no media file")
        elif glob.has_magic(name := os.fspath(one)) and not os.path.lexists(name):
            yield from _or_none(_matches(name), name, "no media file matches this pattern")
        else:
            yield os.fspath(one)


def _remote(text: str) -> Address | NoFile:
    try:
        address = parse_address(text)
    except InputError as error:
        return NoFile(text, str(error), error.code)
    if address.may_be_file:
        return address
    return NoFile(
        address.shown, "it is a stream, not a file: use predict_live", code="wrong-format"
    )


def _is_folder(name: str | os.PathLike[str]) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # an invalid name: reported when it is opened
        return False


def _check(one: Any) -> None:
    if not isinstance(one, (str, os.PathLike, Address, ArrayClip, NoFile, Pause)):
        raise _wrong(one)


def _wrong(one: Any) -> InputError:
    return InputError(
        "bad-value",
        f"cannot predict a value of type {type(one).__name__}: give a path, a folder, a pattern, "
        "an ArrayClip or a list of these; pass arrays as audio=, rate_hz= and frames=",
    )


def _or_none(found: Iterable[Input], name: str | os.PathLike[str], reason: str) -> Iterator[Input]:
    is_empty = True
    for one in found:
        is_empty = False
        yield one
    if is_empty:
        yield NoFile(os.fspath(name), f"missing: {reason}", "file-missing")


def _matches(pattern: str) -> Iterator[Input]:
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 (unchanged names)
        if Path(name).is_dir():
            # `**` already matches files in subfolders.
            if "**" not in pattern:
                yield from media_below(name)
        else:
            yield name


def media_below(folder: str | os.PathLike[str]) -> Iterator[Input]:
    """The media files of a folder and its subfolders, in alphabetical order.

    Links are followed; a folder with several names is searched by the first one.
    """
    errors: list[OSError] = []
    visited: set[str] = set()
    for place, inside, names in os.walk(folder, onerror=errors.append, followlinks=True):
        if (real := os.path.realpath(place)) in visited:
            inside.clear()
            continue
        visited.add(real)
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and is_media(file):
                yield str(file)
    for error in errors:
        yield NoFile(str(error.filename), f"unreadable: {error.strerror}", "file-unreadable")
