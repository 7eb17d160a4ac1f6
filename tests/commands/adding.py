"""What the tests of `cign add` and its like share: fixtures, imported by conftest, and helpers."""

import csv
import os
import shutil

import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.learner import Learner
from toy import FIXED

OPTIONS = {
    name: {**FIXED[name], "width": 60, "ridge": [5.0], "precision": "float64"}
    for name in ("cign_analytic", "analytic")
} | {"ncm": {}, "slda": {}, "ranpac": {"width": 60, "ridge": [5.0]}, "fecam": {}}


def refused(result, *parts):
    """Check that a command stopped with one sentence, which holds these parts."""
    code, out, err = result
    assert code == 2
    assert out == ""
    (sentence,) = [line for line in err.splitlines() if line.startswith("cign: ")]
    for part in parts:
        assert part in sentence


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "labels", "split"])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def rows(tiny):
    """The rows of the corpus's table, and its classes in the order of their appearance."""
    with (tiny[0] / "clips.csv").open() as file:
        found = [
            {name: row[name] for name in ("path", "labels", "split")}
            for row in csv.DictReader(file)
        ]
    return found, list(dict.fromkeys(row["labels"] for row in found))


@pytest.fixture(scope="session")
def tables(tiny, rows, tmp_path_factory):
    """Tables of the first three classes and of the last one."""
    folder = tmp_path_factory.mktemp("tables")
    found, classes = rows
    old = [row for row in found if row["labels"] != classes[-1]]
    new = [row for row in found if row["labels"] == classes[-1]]
    return write(folder / "old.csv", old), write(folder / "new.csv", new)


@pytest.fixture(scope="session")
def old_store(tiny, tables, tmp_path_factory):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("old") / "store"
    backbone = load_backbone("small-random")
    prepare(tables[0], folder, backbone=backbone, media=[tiny[0]], num_workers=0)
    return folder


@pytest.fixture(scope="session")
def runs(old_store, tmp_path_factory):
    """A run of each method on the first three classes."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in OPTIONS.items():
        Learner(name, options=options).learn(old_store, tasks=2, out=folder / name)
    quick = {"training": {"num_epochs": 1, "min_steps": 0, "batch_size": 8}}
    Learner("finetune", options=quick).learn(old_store, tasks=2, out=folder / "finetune")
    return folder


@pytest.fixture
def model(runs, tmp_path):
    """A MODEL of three classes that a test may change."""
    return shutil.copytree(runs / "cign_analytic" / "model", tmp_path / "model")


def state_of(folder):
    """Every file of a folder but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def add(cign, model, source, tiny, *options):
    return cign("add", model, source, "--media", tiny[0], "--workers", 0, *options)
