"""Pages of mapped arrays are taken out of memory; values stay."""

from pathlib import Path

import numpy as np
import pytest

from cign.data.arrays import create_array, map_array, release_pages

STATUS = Path("/proc/self/status")


def mapped_mb():
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) / 1000


@pytest.mark.skipif(not STATUS.is_file(), reason="Linux tells how much is mapped")
def test_a_mapped_array_leaves_memory_and_can_be_read_again(tmp_path):
    values = np.arange(20_000_000, dtype=np.float32).reshape(2000, -1)
    create_array(tmp_path / "x.npy", values.shape, "float32")
    with (tmp_path / "x.npy").open("r+b") as file:
        file.seek(-values.nbytes, 2)
        file.write(values.tobytes())
    array = map_array(tmp_path / "x.npy", values.shape, "float32", "test")
    before = mapped_mb()
    total = float(array.sum(dtype=np.float64))
    assert mapped_mb() > before + 70
    release_pages(array)
    assert mapped_mb() < before + 10
    assert float(array.sum(dtype=np.float64)) == total


def test_other_arrays_stay_as_they_are():
    values = np.arange(5)
    release_pages(values)
    assert values.tolist() == [0, 1, 2, 3, 4]
