"""Derive file names from clip names: portable, and unique among all names given."""

from __future__ import annotations

import re
from pathlib import PurePath

_MAX_CHARACTERS = 80


class FileNames:
    """Gives each clip, or each window of a clip, a unique file name.

    Names are unique ignoring case, since some file systems are case-insensitive.
    """

    def __init__(self) -> None:
        self._given: set[str] = set()

    def name(self, clip: str, suffix: str, start_s: float | None = None) -> str:
        """A new name.

        Args:
            clip: Path of the clip.
            suffix: File suffix with its dot.
            start_s: Start of the window in seconds; None if the clip has a single file.

        Returns:
            Letters, digits, ``.``, ``_`` and ``-`` of the clip's name, then the start of the
            window and, if that name was given before, a number.
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
