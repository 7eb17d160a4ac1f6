"""What comes from a browser: which files are taken, and how clips to learn from are laid out."""

from __future__ import annotations

import contextlib
import csv
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from cign.data.media.recognition import is_media
from cign.errors import InputError
from cign.saved_model.validation_clips import KEPT_PER_CLASS
from cign.updating.new_classes import check_name

MOST_CLIPS = 100
# Ours: one clip in so many is not learned from but kept, to measure what later changes cost.
SET_ASIDE_EVERY = 5
_SHOWN = ("mp4", "webm", "mov", "mkv", "wav", "mp3")


def check_upload(path: str | Path, folder: Path) -> Path:
    """Give the place of an uploaded file.

    Args:
        path: As the browser names it.
        folder: Where uploads lie; nothing outside it is read.

    Raises:
        InputError: If it lies elsewhere, is gone, or is no video or audio file.
    """
    place = Path(path).resolve()
    if not place.is_relative_to(folder.resolve()) or not place.is_file():
        raise InputError("this file is not here any more: choose it again")
    if not is_media(place):
        raise InputError(
            f"{place.name} is neither a video nor an audio file: choose one such as "
            f"{', '.join(_SHOWN)}"
        )
    return place


def num_set_aside(num_clips: int) -> int:
    """How many of the clips of a class are kept to measure with, and not learned from."""
    return min(num_clips // SET_ASIDE_EVERY, KEPT_PER_CLASS)


def lay_out(name: str, clips: Sequence[Path], folder: Path) -> Path:
    """Write clips of one class as a table that `cign add` takes.

    Args:
        name: Of the class.
        clips: Its clips, in the order in which they were chosen.
        folder: Where the table and the clips go.

    Returns:
        The table. The last `num_set_aside` clips are of split val, the others of split train.

    Raises:
        InputError: If the name is not allowed, or there are no clips or too many.
    """
    name = check_name(name.strip())
    if not clips:
        raise InputError("no clip was chosen: choose a few that show the class")
    if len(clips) > MOST_CLIPS:
        raise InputError(
            f"{len(clips)} clips were chosen: teach at most {MOST_CLIPS} at a time, or use "
            "`cign add`"
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
            writer.writerow((place, name, "train" if number < first_aside else "val"))
    return table


class Sessions:
    """A folder for each open page, removed when the page is closed.

    Args:
        root: Where they lie.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._used: dict[str, set[Path]] = {}

    def folder(self, session: str) -> Path:
        """The folder of a session, made if it is not there."""
        # What the browser calls its session is never a part of a path.
        place = self._root / f"session-{uuid.uuid5(uuid.NAMESPACE_OID, session).hex}"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def uses(self, session: str, clips: Sequence[Path]) -> None:
        """Remember uploads that go with a session."""
        self._used.setdefault(session, set()).update(clips)

    def close(self, session: str) -> None:
        """Remove all that a session left, but uploads that another one uses too."""
        shutil.rmtree(self.folder(session), ignore_errors=True)
        mine = self._used.pop(session, set())
        for clip in mine.difference(*self._used.values()):
            clip.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                clip.parent.rmdir()


def shown_size(num_bytes: int) -> str:
    """A size as one reads it, in powers of 1,024 as browsers count."""
    for unit, scale in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.4g} {unit}"
    return f"{num_bytes} bytes"
