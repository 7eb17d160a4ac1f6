"""Arrays on disk: created at full size, written row by row, memory-mapped for reading."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tokenize
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cign.errors import InputError, RunError, reason_of
from cign.utils.files import replacing

# No space left, quota exceeded, maximum file size exceeded.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# What `numpy.load` raises for damaged files: its parsers of headers and archives check little.
ARRAY_ERRORS = (
    *(OSError, ValueError, TypeError, OverflowError, RuntimeError, EOFError, SyntaxError),
    *(tokenize.TokenError, BadZipFile, zlib.error, KeyError),
)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Convert the error of a full disk to one sentence; existing files are not changed.

    Raises:
        RunError: If the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise full_disk(folder, str(error.strerror)) from None
        raise


def full_disk(folder: Path, reason: str) -> RunError:
    """Build the error for a full disk."""
    return RunError(
        "disk-full",
        f"writing to {folder} failed ({reason}): free some space and run the same command again "
        "to resume, or use a folder on another disk",
    )


def check_space(folder: Path, num_bytes: int) -> None:
    """Check that a result of ``num_bytes`` bytes fits on the disk.

    Raises:
        RunError: If fewer bytes are free.
    """
    free = free_bytes(folder)
    if free < num_bytes:
        raise RunError(
            "disk-full",
            f"{folder} has {free / 1e9:.1f} GB free, but {num_bytes / 1e9:.1f} GB are needed: free "
            "some space, or use a folder on another disk or a smaller preset",
        )


def free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def describe_bytes(number: int) -> str:
    """Format a number of bytes: 830 B, 1.2 MB, 372.4 GB."""
    size, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def num_bytes(shape: Sequence[int], dtype: str) -> int:
    """Return the size of an array's values in bytes."""
    return prod(shape) * np.dtype(dtype).itemsize


def create_array(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Create an ``.npy`` file of zeros, with its disk space allocated at once.

    Allocated space cannot run out later, in the middle of a row.

    Raises:
        RunError: If the disk is full.
    """
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with disk_errors(path.parent), replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        size = file.tell() + num_bytes(shape, dtype)
        if size > file.tell():
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno in FULL:
                    raise
                os.truncate(file.fileno(), size)  # the file system cannot preallocate


class RowWriter:
    """Writes rows of an array of `create_array`; several processes may write concurrently.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        array: Any = open_array(path)
        self._offset = int(array.offset)
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype
        self._row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        self._file = os.open(path, os.O_RDWR)

    def write(self, row: int, values: NDArray[Any]) -> None:
        """Write consecutive rows, starting at ``row``.

        A full disk raises an error here; writing to mapped memory would kill the process.
        """
        assert values.dtype == self.dtype
        assert values.shape[1:] == self.shape[1:]
        assert row + len(values) <= self.shape[0]
        view = np.ascontiguousarray(values).data.cast("B")
        position = self._offset + row * self._row_bytes
        while len(view):
            written = os.pwrite(self._file, view, position)
            view, position = view[written:], position + written

    def sync(self) -> None:
        """Wait until all written rows are on the disk."""
        os.fsync(self._file)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)


def open_array(path: Path, *, mapped: bool = True) -> NDArray[Any]:
    """Open an ``.npy`` file of a store, whatever its shape and type.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return _single_array(path, mapped=mapped)
    except ARRAY_ERRORS as error:
        raise InputError(
            "damaged",
            f"{path} is truncated or damaged ({reason_of(error)}): restore it, or prepare again "
            "into a new folder",
        ) from None


def _single_array(path: Path, *, mapped: bool) -> NDArray[Any]:
    """Load an ``.npy`` file.

    Raises:
        ValueError: If it is an archive of several arrays; one of `ARRAY_ERRORS` if it is damaged.
    """
    array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is not a single array")
    return array


def map_array(path: Path, shape: tuple[int, ...], dtype: str, what: str) -> NDArray[Any]:
    """Map an ``.npy`` file into memory for reading.

    Raises:
        InputError: If it is missing, truncated, or of another shape or type than expected.
    """
    remedy = "restore it, or prepare again into a new folder"
    try:
        array = _single_array(path, mapped=prod(shape) > 0)  # empty arrays cannot be mapped
    except FileNotFoundError:
        raise InputError("damaged", f"{what} lacks {path.name}: {remedy}") from None
    except ARRAY_ERRORS as error:
        reason = reason_of(error)
        raise InputError(
            "damaged", f"{what}: {path.name} is truncated or damaged ({reason}): {remedy}"
        ) from None
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise InputError(
            "damaged",
            f"{what}: {path.name} contains {array.dtype} {list(array.shape)}, but {dtype} "
            f"{list(shape)} is recorded: {remedy}",
        )
    return array


def release_pages(array: NDArray[Any]) -> None:
    """Take the pages of a mapped array out of this process' memory; its values are unchanged.

    The system's file cache still holds them, and drops them when memory is short. Without it, the
    resident memory of a process that reads a mapped array once grows to the size of the file.
    Nothing happens for an array that is not mapped, and where the system cannot do it.

    Args:
        array: An array of `map_array`.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
