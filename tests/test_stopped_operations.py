"""`merge`, `forget`, `add --replace`, `resolve` and `thresholds`, killed, and two at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Lines of `stopped_operations.py`, which checks all that is left and raises otherwise."""
    script = Path(__file__).parent / "stopped_operations.py"
    paths = [str(Path(p).resolve()) for p in sys.path if p]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path_factory.mktemp("work"))],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", ["merge", "forget", "replace", "resolve", "thresholds"])
def test_a_command_killed_anywhere_leaves_the_old_model_or_the_new(printed, name):
    num_writes, num_killed = map(int, printed[name].split())
    assert num_writes > 20  # it was stopped before each of so many
    assert num_killed >= 3


def test_a_correction_waits_for_an_addition(printed):
    assert "is in use by another process" in printed["busy"]
