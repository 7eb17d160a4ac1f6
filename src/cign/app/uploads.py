"""Uploads from the browser: validation of files, and their removal."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from cign.data.media.recognition import is_media
from cign.errors import InputError

_SHOWN = ("mp4", "webm", "mov", "mkv", "wav", "mp3")


def check_upload(path: str | Path, folder: Path) -> Path:
    """Validate the path of an uploaded file.

    Args:
        path: Path in the request of the browser.
        folder: Folder of uploads; no file outside it is accepted.

    Raises:
        InputError: If it is outside the folder, missing, or neither a video nor an audio file.
    """
    place = Path(path).resolve()
    if not place.is_relative_to(folder.resolve()) or not place.is_file():
        raise InputError("file-missing", "this file is no longer available: choose it again")
    if not is_media(place):
        raise InputError(
            "bad-clip",
            f"{place.name} is neither a video nor an audio file: choose one such as "
            f"{', '.join(_SHOWN)}",
        )
    return place


class Sessions:
    """One folder for each open page, removed when the page is closed.

    Args:
        root: Parent of these folders.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._used: dict[str, set[Path]] = {}

    def folder(self, session: str) -> Path:
        """The folder of a session, created if it does not exist."""
        # The session name sent by the browser must not become part of a path.
        place = self._root / f"session-{uuid.uuid5(uuid.NAMESPACE_OID, session).hex}"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def uses(self, session: str, clips: Sequence[Path]) -> None:
        """Register the uploads of a session."""
        self._used.setdefault(session, set()).update(clips)

    def close(self, session: str) -> None:
        """Remove the files of a session, except uploads that another session also uses."""
        shutil.rmtree(self.folder(session), ignore_errors=True)
        mine = self._used.pop(session, set())
        for clip in mine.difference(*self._used.values()):
            clip.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                clip.parent.rmdir()


def shown_size(num_bytes: int) -> str:
    """Format a size for display, in powers of 1,024 like browsers."""
    for unit, scale in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.4g} {unit}"
    return f"{num_bytes} bytes"
