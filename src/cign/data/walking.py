"""List visible files and folders, following links."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cign.errors import InputError


def visible(folder: Path) -> list[Path]:
    """Return the visible entries of a folder, sorted.

    Raises:
        InputError: If the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from None


def visible_folders(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return [path for path in visible(folder) if path.is_dir()]


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield a folder and all its subfolders, with the names of their visible folders and files."""

    def refuse(error: OSError) -> None:
        raise _unreadable(error)

    visited = set[str]()  # a link to a parent folder would cause an infinite loop
    for place, inside, names in os.walk(folder, onerror=refuse, followlinks=True):
        visited.add(os.path.realpath(place))
        inside[:] = [
            name
            for name in sorted(inside)
            if not name.startswith(".") and os.path.realpath(Path(place, name)) not in visited
        ]
        yield Path(place), inside, sorted(name for name in names if not name.startswith("."))


def _unreadable(error: OSError) -> InputError:
    return InputError(
        "file-unreadable",
        f"folder {error.filename} cannot be read ({error.strerror}): correct its permissions, "
        "or move it out of the source",
    )
