"""Atomic file writes (temporary name, flush, rename), and locks on folders."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cign.errors import InputError


@contextlib.contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder and rename it to ``path`` on success.

    Args:
        path: The final path. Its folder is created if it is missing.
        flush: Whether to wait until the data are on disk; False for a hard link to a file that is
            already on disk.

    Yields:
        The temporary path to write to. On an exception it is removed and ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if flush:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replaceable_folder(folder: Path) -> Path:
    """Return the absolute path of a new or empty folder, for a rename of a finished one to it.

    Raises:
        InputError: If it is not empty, is the current folder, or cannot be created.
    """
    place = Path(os.path.realpath(folder))
    if folder.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        raise InputError("bad-output", f"{folder} is not an empty folder: name a new one")
    if place == Path.cwd():  # the caller would remain in the removed one
        raise InputError("bad-output", f"{folder} is the current folder: name a new one in it")
    parent = next(outer for outer in place.parents if outer.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            "bad-output", f"{folder} cannot be made, {parent} is not writable: name another place"
        )
    return place


def sync_folder(folder: Path) -> None:
    """Make a rename durable; ignored if the file system does not support it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write text atomically as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, with a newline at the end."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Read JSON.

    Args:
        path: The file.
        what: Description of the file, for the error message.

    Raises:
        InputError: If the file is missing, is not JSON, or has duplicate names in one object.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(
            "file-missing", f"{what} not found: {path} does not exist; check the path"
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            "file-unreadable", f"{what} {path} cannot be read ({error}); restore or remake it"
        ) from None


def parse_json(text: str | bytes) -> Any:
    """Parse JSON and reject duplicate names, which Python would silently accept.

    Raises:
        ValueError: If it is not JSON, or an object has duplicate names.
    """
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {twice!r} twice")
    return values


@contextlib.contextmanager
def file_lock(path: Path, refusal: str) -> Iterator[None]:
    """Lock a file for this process; the lock is released when the process ends.

    Args:
        path: The file; it is created if it is missing, and emptied otherwise.
        refusal: What to say if another process holds the lock: one sentence.

    Raises:
        InputError: If another process holds the lock.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError("busy", refusal) from None
        yield


@contextlib.contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[None]:
    """Lock a folder for this process; the lock is released when the process ends.

    Raises:
        InputError: If another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refusal = f"{what} {folder} is in use by another process: wait for it or use another folder"
    with file_lock(folder / ".lock", refusal):
        yield
