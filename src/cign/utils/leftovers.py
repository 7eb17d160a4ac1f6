"""Removal of temporary files of interrupted writes, by the next process using the folder."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cign.utils.files import folder_lock

# Names from `cign.utils.files.replacing`: final name, process id, eight random digits.
_TEMPORARY = re.compile(r"\..+\.(\d+)\.[0-9a-f]{8}\.tmp")
# Names from safetensors, which writes under a name of its own first.
_OF_SAFETENSORS = re.compile(r"\.tmp[0-9A-Za-z]{6}")


@contextlib.contextmanager
def held_folder(folder: Path, what: str) -> Iterator[None]:
    """Lock a folder for this process, and remove leftovers of interrupted writes.

    Args:
        folder: The folder; created if missing.
        what: Description of the folder, for the error message.

    Raises:
        InputError: If another process holds the lock.
    """
    with folder_lock(folder, what):
        sweep(folder)
        yield


def sweep(folder: Path) -> None:
    """Remove temporary files of terminated processes below a locked folder."""
    for path in folder.rglob(".*tmp*"):
        match = _TEMPORARY.fullmatch(path.name)
        is_left = match is not None and not _is_alive(int(match[1]))
        # Whoever may write here holds the lock: no other process is writing these.
        if is_left or (_OF_SAFETENSORS.fullmatch(path.name) and path.is_file()):
            # Another process may remove it first; a remaining file only costs disk space.
            with contextlib.suppress(OSError):
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()
