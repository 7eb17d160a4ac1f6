"""Recordings named in a table reach the selection of settings, in training and in `cign add`."""

import csv
import shutil

import pytest

from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.learner import Learner
from cign.methods.closed_form import ClosedForm

from .adding import add

OPTIONS = {"width": 40, "pooling": ["mean", "statistics"], "ridge": [1.0, 30.0]}


def with_sources(path, rows):
    """A table in which the training clips of a class come from two recordings."""
    numbers = {}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "labels", "split", "source"])
        writer.writeheader()
        for row in rows:
            number = numbers[row["labels"]] = numbers.get(row["labels"], -1) + 1
            kind = f"{row['labels']} {number % 2}" if row["split"] == "train" else row["path"]
            writer.writerow({**row, "source": kind})
    return path


@pytest.fixture
def seen(monkeypatch):
    """The sources that the selection was given, task by task."""
    found = []
    inner = ClosedForm.select

    def select(self, data):
        found.append([one for (one,) in data.sources(data.new)])
        inner(self, data)

    monkeypatch.setattr(ClosedForm, "select", select)
    return found


def test_sources_of_a_table_are_left_out_together(cign, tiny, rows, seen, tmp_path):
    found, classes = rows
    old = [row for row in found if row["labels"] != classes[-1]]
    new = [row for row in found if row["labels"] == classes[-1]]
    table = with_sources(tmp_path / "old.csv", old)
    store = tmp_path / "store"
    prepare(table, store, backbone=load_backbone("small-random"), media=[tiny[0]], num_workers=0)
    run = tmp_path / "run"
    method = Learner("analytic", options=OPTIONS).learn(store, tasks=1, out=run).model.method
    assert set(seen[-1]) == {f"{name} {number}" for name in classes[:-1] for number in (0, 1)}
    evidence, losses = float(method.audio.evidence), method.audio.losses.clone()
    assert evidence == 3
    # Adding a class goes on with the sums of losses.
    model = shutil.copytree(run / "model", tmp_path / "model")
    code, _, err = add(cign, model, with_sources(tmp_path / "new.csv", new), tiny)
    assert code == 0, err
    assert set(seen[-1]) == {f"{classes[-1]} {number}" for number in (0, 1)}
    method = Learner.load(model).model.method
    assert float(method.audio.evidence) == evidence + 1
    finite = losses.isfinite()
    assert (method.audio.losses[finite] > losses[finite]).all()
