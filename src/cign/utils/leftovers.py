"""What an interrupted write leaves, its temporary file, is cleared away by who works there next."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cign.utils.files import folder_lock

# As `cign.utils.files.replacing` names them: the final name, the process, eight digits drawn.
_TEMPORARY = re.compile(r"\..+\.(\d+)\.[0-9a-f]{8}\.tmp")


@contextlib.contextmanager
def held_folder(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder for this process alone, without what interrupted writes have left in it.

    Args:
        folder: It is made if it is missing.
        what: What it is, for the error message.

    Raises:
        InputError: If another process holds it.
    """
    with folder_lock(folder, what):
        sweep(folder)
        yield


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that have ended, below a folder that is held."""
    for path in folder.rglob(".*.tmp"):
        match = _TEMPORARY.fullmatch(path.name)
        if match is not None and not _is_alive(int(match[1])):
            # Another process may take it away first; one that stays costs space alone.
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
