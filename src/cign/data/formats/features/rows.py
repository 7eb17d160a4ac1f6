"""Features of one modality, one row per clip: an array in memory or on disk, or a file per clip.

Legend: N clips, T tokens of a clip, D width of a token.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cign.data.arrays import ARRAY_ERRORS
from cign.errors import InputError

_FLOATS = (np.float16, np.float32, np.float64)


class Rows(Protocol):
    """Features of one modality.

    Attributes:
        shape: (N, T, D).
    """

    shape: tuple[int, int, int]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """Return the features of some clips, [len(indices), T, D].

        Raises:
            InputError: If they cannot be read.
        """


class ArrayRows:
    """The rows of one array.

    Args:
        array: Shape [N, D] or [N, T, D]; may be memory-mapped.
        what: The array, for error messages.

    Raises:
        InputError: If it has another shape, no values, or other values than floats.
    """

    def __init__(self, array: NDArray[Any], what: str) -> None:
        check_dtype(array, what)
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise InputError(
                "bad-list",
                f"{what} has shape {list(array.shape)}: give [clips, width] or [clips, tokens, "
                "width], each at least 1",
            )
        self._array = array[:, None] if array.ndim == 2 else array
        self.shape = (self._array.shape[0], self._array.shape[1], self._array.shape[2])

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """See `Rows.read`."""
        return np.asarray(self._array[indices])


class FileRows:
    """One ``.npy`` file per clip, each of shape [D] or [T, D].

    Args:
        paths: The files.
        what: The list of files, for error messages.

    Raises:
        InputError: If the first file cannot be read or has another shape.
    """

    def __init__(self, paths: Sequence[Path], what: str) -> None:
        self._paths, self._what = paths, what
        first = self._load(0)
        if first.ndim not in (1, 2) or 0 in first.shape:
            raise InputError(
                "bad-list",
                f"{paths[0]} has shape {list(first.shape)}: give [width] or [tokens, width] for "
                "each clip, each at least 1",
            )
        self._one = first.shape
        tokens, width = (1, *first.shape)[-2:]
        self.shape = (len(paths), tokens, width)

    def _load(self, index: int) -> NDArray[Any]:
        return load_array(self._paths[index])

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """See `Rows.read`."""
        rows = []
        for index in indices.tolist():
            row = self._load(index)
            if row.shape != self._one:
                raise InputError(
                    "bad-list",
                    f"{self._paths[index]} has shape {list(row.shape)}, but {self._paths[0]} has "
                    f"{list(self._one)}: give all clips of {self._what} the same shape, for "
                    "example by averaging over the tokens",
                )
            rows.append(row.reshape(self.shape[1:]))
        return np.stack(rows)


def check_dtype(array: NDArray[Any], what: str) -> None:
    """Check that an array holds floats.

    Raises:
        InputError: If it does not.
    """
    if array.dtype.newbyteorder("=") not in _FLOATS:
        raise InputError(
            "bad-list", f"{what} has values of type {array.dtype}: save float16, float32 or float64"
        )


def load_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read an ``.npy`` file of floats without unpickling anything.

    Args:
        path: The file.
        mapped: Whether the array is memory-mapped instead of read.

    Raises:
        InputError: If it is missing, damaged, or not an array of floats.
    """
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except ARRAY_ERRORS as error:
        raise unreadable(path, error) from None
    if not isinstance(array, np.ndarray):
        raise InputError(
            "wrong-format", f"{path} is an archive of several arrays: save each as an .npy file"
        )
    check_dtype(array, str(path))
    return array


def unreadable(path: Path, error: Exception) -> InputError:
    """Build the error for a file of arrays that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return InputError("file-missing", f"{path} does not exist: check the path")
    lines = str(error).splitlines()
    reason = lines[0] if lines else type(error).__name__
    if "allow_pickle" in reason or isinstance(error, io.UnsupportedOperation):
        return InputError(
            "wrong-format",
            f"{path} holds objects, which are pickled and not read: save numbers and text",
        )
    return InputError("damaged", f"{path} is truncated or damaged ({reason}): write it again")
