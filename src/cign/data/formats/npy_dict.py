"""Reading a dictionary that another project saved as a pickled NumPy array, without its code.

Such a file is a program for the unpickler. Ours knows plain containers, strings and numbers, and
the three names with which NumPy wraps an object array; for those it has stand-ins that hold
values and can do nothing else. Whatever else a file asks for is refused before it is called.
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
    """The file asks for something that is not a plain value."""


class _Inert:
    """Something that can be called or restored, without effect."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def __call__(self, *arguments: object) -> _Inert:
        return _Inert()

    def __setstate__(self, state: object) -> None:
        """Take the values of an object array: version, shape, type, order, values."""
        if isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], list):
            self.value = state[4]


# The one written in Python: its memory of objects is a dictionary, so that a damaged or malicious
# file cannot make it allocate by naming a large place, as the one written in C would.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Give stand-ins for what an object array needs, and refuse all else."""
        array = module in ("numpy.core.multiarray", "numpy._core.multiarray")
        if (array and name == "_reconstruct") or (
            module == "numpy" and name in ("ndarray", "dtype")
        ):
            return _Inert()
        raise _RefusedError(f"{module}.{name}")

    def persistent_load(self, pid: object) -> Any:
        """Refuse objects that lie elsewhere."""
        raise _RefusedError("an object outside the file")


def read_npy_dict(path: Path) -> dict[Any, Any]:
    """Read the dictionary in a ``.npy`` file.

    Args:
        path: A file that ``numpy.save`` made of a dictionary.

    Returns:
        The dictionary. Its values are plain, or inert objects where the file has arrays in it.

    Raises:
        InputError: If the file is something else, or asks to call anything.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{path} has {size} bytes, too many for a list of clips: check it")
        with path.open("rb") as file:
            if _is_object_array(file):
                found = _Unpickler(file).load()
                values = found.value if isinstance(found, _Inert) else None
                if isinstance(values, list) and len(values) == 1 and isinstance(values[0], dict):
                    return values[0]
    except _RefusedError as error:
        raise InputError(
            f"{path} asks to run {error}, which a list of clips does not need: do not open it with "
            "other tools, and get the list from its publisher"
        ) from None
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be read ({reason}): check the path") from None
    except Exception:
        # Unpickling strange bytes can raise anything.
        raise InputError(f"{path} is damaged: get the list from its publisher again") from None
    raise InputError(f"{path} holds no dictionary: give the .npy lists as published")


def _is_object_array(file: BinaryIO) -> bool:
    version = np.lib.format.read_magic(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        if version == (1, 0):
            _, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            _, _, dtype = np.lib.format.read_array_header_2_0(file)
    return bool(dtype.hasobject)
