"""What lies in folders and is not hidden, through links."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cign.errors import InputError


def visible(folder: Path) -> list[Path]:
    """What lies in a folder and is not hidden, sorted.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from None


def visible_folders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted."""
    return [path for path in visible(folder) if path.is_dir()]


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder below one, and itself, with the names of its visible folders and files."""

    def refuse(error: OSError) -> None:
        raise _unreadable(error)

    seen = set[str]()  # a link to a folder further up would go round for ever
    for place, inside, names in os.walk(folder, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(place))
        inside[:] = [
            name
            for name in sorted(inside)
            if not name.startswith(".") and os.path.realpath(Path(place, name)) not in seen
        ]
        yield Path(place), inside, sorted(name for name in names if not name.startswith("."))


def _unreadable(error: OSError) -> InputError:
    return InputError(
        f"folder {error.filename} cannot be read ({error.strerror}): correct its permissions, "
        "or move it out of the source"
    )
