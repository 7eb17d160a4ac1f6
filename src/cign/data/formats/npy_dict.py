"""Read a dictionary that was saved as a pickled NumPy array, without running code from the file.

Such a file is a program for the unpickler. This unpickler accepts plain containers, strings and
numbers, and the three names with which NumPy wraps an object array. Those names are replaced by
inert stand-ins that only store values. Any other name in a file is rejected before it is called.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cign.errors import InputError

_MAX_BYTES = 256 * 2**20


class _RefusedError(Exception):
    """The file refers to something that is not a plain value."""


class _Inert:
    """Stand-in object that can be called or restored without effect."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def __call__(self, *arguments: object) -> _Inert:
        return _Inert()

    def __setstate__(self, state: object) -> None:
        """Store the values of an object array, from (version, shape, type, order, values)."""
        if isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], list):
            self.value = state[4]


# The Python implementation: its memo is a dictionary, so a damaged or malicious file cannot force
# a large allocation with a large memo index, as it can with the C implementation.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return stand-ins for the names of an object array, and reject all others."""
        array = module in ("numpy.core.multiarray", "numpy._core.multiarray")
        if (array and name == "_reconstruct") or (
            module == "numpy" and name in ("ndarray", "dtype")
        ):
            return _Inert()
        raise _RefusedError(f"{module}.{name}")

    def persistent_load(self, pid: object) -> Any:
        """Reject objects that are stored outside the file."""
        raise _RefusedError("an object outside the file")


def read_npy_dict(path: Path) -> dict[Any, Any]:
    """Read the dictionary in a ``.npy`` file.

    Args:
        path: A file that ``numpy.save`` wrote from a dictionary.

    Returns:
        The dictionary. Its values are plain values, or inert objects in place of arrays.

    Raises:
        InputError: If the file has other contents, or would call a function.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(
                "file-unreadable",
                f"{path} has {size} bytes, too many for a list of clips: check it",
            )
        with path.open("rb") as file:
            if _is_object_array(file):
                found = _Unpickler(file).load()
                values = found.value if isinstance(found, _Inert) else None
                if isinstance(values, list) and len(values) == 1 and isinstance(values[0], dict):
                    return values[0]
    except _RefusedError as error:
        raise InputError(
            "file-unreadable",
            f"{path} would run {error}, which a list of clips does not need: do not open it with "
            "other tools, and get the list from its publisher",
        ) from None
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            "file-unreadable", f"{path} cannot be read ({reason}): check the path"
        ) from None
    except Exception:
        # Unpickling damaged bytes can raise any exception.
        raise InputError(
            "damaged", f"{path} is damaged: get the list from its publisher again"
        ) from None
    raise InputError(
        "wrong-format", f"{path} contains no dictionary: give the .npy lists as published"
    )


def _is_object_array(file: BinaryIO) -> bool:
    version = np.lib.format.read_magic(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about headers written by Python 2
        if version == (1, 0):
            _, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            _, _, dtype = np.lib.format.read_array_header_2_0(file)
    return bool(dtype.hasobject)
