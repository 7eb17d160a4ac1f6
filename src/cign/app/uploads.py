"""Uploads from the browser: validation of files, and the table of clips to learn from."""

from __future__ import annotations

import contextlib
import csv
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from cign.data.formats.label_texts import label_text
from cign.data.media.recognition import is_media
from cign.errors import InputError
from cign.saved_model.validation_clips import KEPT_PER_CLASS
from cign.updating.new_classes import check_name

MOST_CLIPS = 100
# Our choice: one clip in so many becomes a validation clip, to measure the effect of later changes.
SET_ASIDE_EVERY = 5
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


def num_set_aside(num_clips: int) -> int:
    """Number of validation clips of a class, which are not learned from."""
    return min(num_clips // SET_ASIDE_EVERY, KEPT_PER_CLASS)


def lay_out(name: str, clips: Sequence[Path], folder: Path) -> Path:
    """Write the clips of one class as a table for `cign add`.

    Args:
        name: Name of the class.
        clips: Its clips, in the order of choice.
        folder: Folder for the table and the clips.

    Returns:
        Path of the table. The last `num_set_aside` clips are in split val, the others in train.

    Raises:
        InputError: If the name is not allowed, or there are no or too many clips.
    """
    name = check_name(name.strip())
    if not clips:
        raise InputError("missing-option", "no clip was chosen: choose a few clips of the class")
    if len(clips) > MOST_CLIPS:
        raise InputError(
            "bad-value",
            f"{len(clips)} clips were chosen: teach at most {MOST_CLIPS} at a time, or use "
            "`cign add`",
        )
    first_aside = len(clips) - num_set_aside(len(clips))
    folder.mkdir(parents=True)
    table = folder / "clips.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "labels", "split"))
        for number, clip in enumerate(clips):
            place = f"{number:03d}-{clip.stem[:60]}{clip.suffix.lower()}"
            (folder / place).hardlink_to(clip)
            split = "train" if number < first_aside else "val"
            writer.writerow((place, label_text(name), split))
    return table


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
