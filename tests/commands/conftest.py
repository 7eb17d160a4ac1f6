"""A small corpus, its store and a run, made once by the commands themselves."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from cign.cli.entry_point import main

from .adding import model, old_store, rows, runs, tables  # noqa: F401


@dataclass(frozen=True)
class World:
    """Where the pieces lie."""

    clips: Path
    store: Path
    run: Path

    def test_clips(self):
        """Media files of the test split."""
        return sorted(map(str, (self.clips / "test").rglob("*.mp4")))


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """A recipe that is done in a second."""
    path = tmp_path_factory.mktemp("recipe") / "quick.yaml"
    path.write_text(
        "method: finetune\noptions:\n  training: {num_epochs: 2, min_steps: 0, batch_size: 8}\n"
    )
    return path


@pytest.fixture(scope="session")
def world(tmp_path_factory, recipe):
    """`cign synth`, `cign prepare` and `cign train`, one after another."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("world")
    world = World(root / "clips", root / "store", root / "run")
    synth = ["--classes", "4", "--train", "5", "--val", "1", "--test", "3", "--seconds", "1"]
    assert main(["synth", str(world.clips), *synth, "--size", "64", "--workers", "1"]) == 0
    prepare = ["--backbone", "small-random", "--workers", "0"]
    assert main(["prepare", str(world.clips), str(world.store), *prepare]) == 0
    train = ["--out", str(world.run), "--recipe", str(recipe), "--tasks", "2"]
    assert main(["train", str(world.store), *train]) == 0
    return world
