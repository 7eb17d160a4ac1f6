"""Mutated media files: each has an answer, and costs no other file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from faults.fuzz import fuzz

PROGRAM = Path(__file__).with_name("fuzz.py")


def test_mutated_files_are_answered(tiny, tmp_path):
    sources = sorted((tiny[0] / "train").rglob("*.mp4"))[:6]
    found = fuzz(sources, tmp_path, 50, seed=0, timeout_s=60.0, workers=1)
    assert found["problems"] == []
    assert found["decoded"] + found["left out"] == 50
    assert found["left out"] >= 5, "the mutations hurt"
    assert found["decoded"] >= 5, "and not always"


@pytest.mark.slow
def test_ten_thousand_mutated_files(tmp_path):
    command = [sys.executable, str(PROGRAM), str(tmp_path), "--number", "10000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["problems"] == []
