"""Free memory is given back to the operating system."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from cign.utils.allocator import give_back


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_holes_between_arrays_are_given_back():
    arrays = [np.ones(20_000, np.uint8) for _ in range(6000)]  # too small for mappings of their own
    last = arrays[-1]
    full = resident_mb()
    del arrays
    give_back()
    assert resident_mb() < full - 60
    assert last.all()


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr("cign.utils.allocator.ctypes", None)
    give_back()
