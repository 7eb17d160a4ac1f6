"""Names of files that are made from names of other files: safe anywhere, none given twice."""

from __future__ import annotations

import re
from pathlib import PurePath

_MAX_CHARACTERS = 80


class FileNames:
    """Gives each clip, or window of one, a file name of its own.

    Names differ without regard to case, since some disks have none.
    """

    def __init__(self) -> None:
        self._given: set[str] = set()

    def name(self, clip: str, suffix: str, start_s: float | None = None) -> str:
        """A new name.

        Args:
            clip: Path of the clip.
            suffix: With its dot.
            start_s: Where the window begins; None where a clip has one picture only.

        Returns:
            Letters, digits, ``.``, ``_`` and ``-`` of the clip's name, then the beginning of the
            window and, where that was given before, a number.
        """
        stem = re.sub(r"[^\w.-]+", "_", PurePath(clip).stem, flags=re.ASCII).strip("._-")
        stem = stem[:_MAX_CHARACTERS] or "clip"
        if start_s is not None:
            stem += f"_{start_s:08.2f}s"
        number, name = 1, f"{stem}{suffix}"
        while name.lower() in self._given:
            number += 1
            name = f"{stem}_{number}{suffix}"
        self._given.add(name.lower())
        return name
