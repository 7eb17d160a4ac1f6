"""`cign train` on a store of 2,000 clips holds at most 2 GB of memory on cached tokens."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cign.runs import record

NUM_CLIPS = 2000
LIMIT_KB = 2 * 1000**3 / 1024


def enlarge(store, out, num_clips):
    """A store whose clips are those of another one over and over, under names of their own."""
    table = pq.read_table(store / "clips.parquet")
    pick = np.arange(num_clips) % len(table)
    rows = table["row"].to_numpy()[pick]
    big = table.take(pa.array(pick))
    for name, values in {
        "row": pa.array(np.arange(num_clips), pa.int64()),
        "id": pa.array([f"{i}/{name}" for i, name in enumerate(big["id"].to_pylist())]),
    }.items():
        big = big.set_column(big.schema.get_field_index(name), name, values)
    for file in [path for path in store.rglob("*") if path.is_file()]:
        target = out / file.relative_to(store)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".npy":
            np.save(target, np.load(file)[rows])
        elif file.name == "store.json":
            about = json.loads(file.read_text())
            del about["checksums"]  # of other arrays
            target.write_text(json.dumps({**about, "num_rows": num_clips, "num_clips": num_clips}))
        elif file.name not in ("clips.parquet", "checksums.json"):
            target.write_bytes(file.read_bytes())
    pq.write_table(big, out / "clips.parquet")


# A process begins with the peak of the one that started it: this one is small, the tests' is not.
WATCH = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("method", ["joint", "cign"])
def test_training_on_2000_clips_stays_under_2_gb(tiny, tmp_path, method):
    enlarge(tiny[1], tmp_path / "store", NUM_CLIPS)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"method: {method}\noptions:\n  training: {{num_epochs: 1, min_steps: 0, batch_size: 32}}\n"
    )
    command = [sys.executable, "-m", "cign", "train", str(tmp_path / "store")]
    command += ["--out", str(tmp_path / "run"), "--tasks", "2", "--recipe", str(recipe)]
    done = subprocess.run([sys.executable, "-c", WATCH, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak_kb = int(done.stdout)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["store"]["num_train"] + metrics["store"]["num_test"] > 0.7 * NUM_CLIPS
    assert peak_kb < LIMIT_KB
    # The folder tells the truth about it, to the memory that the report took afterwards.
    assert metrics["costs"]["peak_memory_mb"] <= peak_kb * 1024 / 1e6 + 1


# Prints its peak, before and after it has held 300 MB for a moment.
SHOW_PEAK = """
from cign.runs.record import peak_memory_mb
before = peak_memory_mb()
held = b"x" * 300_000_000
del held
print(before, peak_memory_mb())
"""
# Holds 1 GB while it runs a program; prints what that program prints.
LARGE_PARENT = """
import subprocess, sys
held = b"x" * 1_000_000_000
print(subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_peak_is_that_of_the_process_and_not_of_the_one_that_started_it():
    command = [sys.executable, "-c", LARGE_PARENT, sys.executable, "-c", SHOW_PEAK]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    before, after = map(float, shown.split())
    assert 50 < before < 600
    assert before + 250 < after < before + 350  # it stays after the memory is freed


def test_without_proc_the_peak_comes_from_the_kernels_accounting(monkeypatch, tmp_path):
    from_proc = record.peak_memory_mb()
    monkeypatch.setattr(record, "_STATUS", tmp_path / "status")
    assert from_proc * 0.98 <= record.peak_memory_mb()  # which may include an earlier program's
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    2000 kB\n")
    assert record.peak_memory_mb() == pytest.approx(2.048)
