"""Resolve paths of lists: of other systems, with escapes, and always inside the media folders."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from cign.errors import InputError
from cign.utils.file_text import is_escaped, unescape_name

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def local_path(text: str, roots: Sequence[Path], where: str) -> str:
    r"""Turn a listed path into a path of this machine.

    ``file://`` URLs, a leading ``~``, Windows backslashes (``dog\1.mp4``) and the escapes of
    `cign.utils.file_text` are resolved. A file whose name is exactly as listed takes precedence.

    Args:
        text: The path as listed.
        roots: Media folders.
        where: The location in the list, for the error message.

    Raises:
        InputError: If it has several lines, is another kind of URL, or has a Windows drive.
    """
    if "\n" in text:
        raise _no_name(text, where)
    if match := _ADDRESS.match(text):
        host, slash, path = text[match.end() :].partition("/")
        if match[1].lower() != "file" or host not in ("", "localhost"):
            raise InputError(
                "bad-list",
                f"{where}: path {text!r} is a URL of another machine: download the file and list "
                "its local path",
            )
        text = unquote(slash + path, errors="surrogateescape")
    if text.startswith("~") and not any((root / text).is_file() for root in roots):
        with contextlib.suppress(RuntimeError):  # not a user name: part of the file name
            text = Path(text).expanduser().as_posix()
    if "\\" not in text and not _DRIVE.match(text):
        return text
    slashes = text.replace("\\", "/")
    for spelling in (text, unescape_name(text), slashes):
        if any((root / spelling).is_file() for root in roots):
            return spelling
    if _DRIVE.match(text) or slashes.startswith("//"):
        raise InputError(
            "bad-list",
            f"{where}: path {text!r} is a Windows path: list paths relative to a folder of this "
            "machine, and give that folder with --media",
        )
    return unescape_name(text) if is_escaped(text) else slashes


def _no_name(text: str, where: str) -> InputError:
    return InputError(
        "bad-list", f"{where}: path {text!r} is not a file name; write one file per row"
    )


def relative_inside(text: str, roots: Sequence[Path], where: str) -> str:
    """Check that a listed path stays inside one of the roots and make it relative.

    Args:
        text: The path as listed, relative or absolute.
        roots: Media folders, absolute.
        where: The location in the list, for the error message.

    Returns:
        The path relative to its root, with forward slashes. Symbolic links are not resolved:
        they are a common way to store media elsewhere.

    Raises:
        InputError: If the path is empty or leaves every root.
    """
    if not text or "\0" in text:
        raise _no_name(text, where)
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InputError(
            "bad-list", f"{where}: path {text!r} is not valid text; correct it"
        ) from None
    if PurePosixPath(text).is_absolute():
        for root in roots:
            if PurePosixPath(text).is_relative_to(root.as_posix()):
                text = PurePosixPath(text).relative_to(root.as_posix()).as_posix()
                break
    parts: list[str] = []
    for part in PurePosixPath(text).parts:
        if part == ".." and parts:
            parts.pop()
        elif part == ".." or part == "/":
            raise InputError(
                "bad-list",
                f"{where}: path {text!r} leaves {roots[0]}: list paths inside it, "
                "or give their folder with --media",
            )
        else:
            parts.append(part)
    return PurePosixPath(*parts).as_posix()


def find_media(relative: str, roots: Sequence[Path]) -> Path:
    """Return the file below the first root that has it; its path below the first if none has."""
    for root in roots[:-1]:
        if (root / relative).is_file():
            return root / relative
    last = roots[-1] / relative
    return last if len(roots) == 1 or last.is_file() else roots[0] / relative
