"""Sizes of the files that a store was made of: other files under the same names are found out.

Times are not compared: copies of the same files are as good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cign.errors import InputError
from cign.utils.files import replacing

FILE = "sizes.npy"


def size_of(stamp: Sequence[int]) -> int:
    """Bytes of the files that a stamp is of, sizes and times by turns; -1 if there were none."""
    return sum(stamp[::2]) if stamp else -1


def save_sizes(folder: Path, stamps: Iterable[Sequence[int]]) -> None:
    """Note the sizes of a store's files, one row after another."""
    with replacing(folder / FILE) as temporary, temporary.open("wb") as file:
        np.save(file, np.array([size_of(stamp) for stamp in stamps], np.int64), allow_pickle=False)


def check_sizes(folder: Path, stamps: Iterable[Sequence[int]], ids: Sequence[str]) -> None:
    """Refuse files that are not those the store was made of; ones that have gone do not matter.

    Args:
        folder: Of the store; one of an earlier version has noted nothing.
        stamps: Of the files as they are now.
        ids: Of their clips.

    Raises:
        InputError: With the first of them.
    """
    if not (folder / FILE).exists():
        return
    made_of = np.load(folder / FILE, allow_pickle=False)
    now = np.array([size_of(stamp) for stamp in stamps], np.int64)
    others = np.flatnonzero((now != made_of) & (now >= 0))
    if len(others):
        raise InputError(
            f"{len(others)} of {len(ids)} files are not those that store {folder} was made of, for "
            f"example {ids[int(others[0])]}, whose size was another: prepare them in a new folder"
        )
