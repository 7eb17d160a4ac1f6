"""Record the sizes of a store's source files, to detect other files under the same names.

Modification times are not compared, so that copies of the same files are accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cign.data.arrays import open_array
from cign.errors import InputError
from cign.utils.files import replacing

FILE = "sizes.npy"


def size_of(stamp: Sequence[int]) -> int:
    """Return the total size in bytes from a stamp of alternating sizes and times; -1 if empty."""
    return sum(stamp[::2]) if stamp else -1


def save_sizes(folder: Path, stamps: Iterable[Sequence[int]]) -> None:
    """Save the sizes of a store's files, one per row."""
    with replacing(folder / FILE) as temporary, temporary.open("wb") as file:
        np.save(file, np.array([size_of(stamp) for stamp in stamps], np.int64), allow_pickle=False)


def check_sizes(folder: Path, stamps: Iterable[Sequence[int]], ids: Sequence[str]) -> None:
    """Reject files that differ from those the store was made from; missing files are accepted.

    Args:
        folder: Folder of the store; nothing is checked for stores of earlier versions, which
            have no recorded sizes.
        stamps: Stamps of the current files.
        ids: Ids of their clips.

    Raises:
        InputError: If files differ; the message names the first.
    """
    if not (folder / FILE).exists():
        return
    recorded = open_array(folder / FILE, mapped=False)
    current = np.array([size_of(stamp) for stamp in stamps], np.int64)
    if recorded.shape != current.shape or recorded.dtype != current.dtype:
        raise InputError(
            "damaged",
            f"{folder / FILE} does not fit the clips of its store: restore it, or prepare again "
            "into a new folder",
        )
    changed = np.flatnonzero((current != recorded) & (current >= 0))
    if len(changed):
        raise InputError(
            "store-mismatch",
            f"{len(changed)} of {len(ids)} files differ in size from those that store {folder} "
            f"was made from, for example {ids[int(changed[0])]}: prepare them in a new folder",
        )
