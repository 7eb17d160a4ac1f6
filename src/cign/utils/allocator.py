"""Memory that the C library holds although nothing uses it."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return free memory to the operating system, where the C library can (glibc).

    Arrays of many sizes leave holes between those that stay. A process that decodes clips for days
    would otherwise grow by about a kilobyte with each of them.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)
