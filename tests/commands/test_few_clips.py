"""Clips that cannot select settings or estimate accuracy: too few, identical, or no difference."""

import json
import shutil

import pytest

from cign.learner import Learner

from .adding import add, refused, write

SETTINGS = ("--method", "cign_analytic", "--tasks", 1, "--set", "width=50")


@pytest.fixture
def train(cign, tiny, tmp_path):
    """Prepare a table of clips and train on it; gives the run, and what training printed."""

    def run(rows, *options):
        (tmp_path / "clips").mkdir()
        for number, row in enumerate(rows):
            shutil.copy(tiny[0] / row["path"], tmp_path / "clips" / f"{number}.mp4")
        listed = [{**row, "path": f"{number}.mp4"} for number, row in enumerate(rows)]
        table, store = write(tmp_path / "clips" / "clips.csv", listed), tmp_path / "store"
        words = ("prepare", table, store, "--backbone", "small-random", "--workers", 0)
        prepared = cign(*words)
        assert prepared[0] == 0, prepared[2]
        code, out, err = cign("train", store, "--out", tmp_path / "run", *SETTINGS, *options)
        assert code == 0, err
        return tmp_path / "run", store, prepared[1], out

    return run


def selected(run):
    return json.loads((run / "model" / "model.json").read_text())["selected"]


def test_one_clip_per_class_selects_nothing_and_says_so(train, cign, rows):
    """Leave-one-out leaves no clip of any class: the plainest view is used."""
    first = {row["labels"]: row for row in reversed(rows[0]) if row["split"] == "train"}
    run, store, _, out = train(list(first.values()))
    reason = "every clip has a class with clips of a single source: add clips of other recordings"
    assert f"leave-one-out accuracy at arrival, over 4 classes: none, because {reason}" in out
    for setting in selected(run).values():
        assert (setting["pooling"], setting["contrast"], setting["ridge"]) == ("tokens", 0.0, 20.0)
    refused(cign("evaluate", run, store, "--loo"), f"can be left out, because {reason}")


def test_a_class_of_one_clip_beside_others_is_not_counted(train, cign, rows):
    others = [row for row in rows[0] if row["split"] == "train" and row["labels"] != rows[1][0]]
    single = next(row for row in rows[0] if row["labels"] == rows[1][0])
    run, store, _, out = train([*others, single])
    assert "over 4 classes: " in out
    assert f"{len(others)} clips, " in out
    assert "not counted: 1 clip of classes with a single source" in out
    code, out, err = cign("evaluate", run, store, "--loo")
    assert code == 0, err
    assert json.loads((run / "model" / "model.json").read_text())["selected"]


def test_an_added_class_of_one_clip_is_learned(cign, model, tiny, rows, tmp_path):
    new = [row for row in rows[0] if row["labels"] == rows[1][-1] and row["split"] == "train"][:1]
    code, out, err = add(cign, model, write(tmp_path / "one.csv", new), tiny)
    assert code == 0, err
    assert f"new classes: {rows[1][-1]} (1 clip)" in out
    assert "over 4 classes: none, because every clip has a class with clips of a single" in out
    assert Learner.load(model).classes == tuple(rows[1])


def test_identical_clips_are_reported_and_learned(train, cign, rows):
    """Three classes of copies of one clip: nothing is singular, and predictions are finite."""
    clip = next(row for row in rows[0] if row["split"] == "train")
    copies = [{**clip, "labels": name} for name in rows[1][:3] for _ in range(3)]
    run, store, prepared, _ = train(copies)
    assert "duplicate (8): same content as 0.mp4 in train" in prepared
    assert all(len(setting) > 3 for setting in selected(run).values())
    clip = store.parent / "clips" / "0.mp4"
    code, out, err = cign("predict", run, clip, "--json")
    assert code == 0, err
    (one,) = json.loads(out)
    assert one["error"] is None
    told = {e["label"]: e["probability"] for e in one["modalities"]["audio_visual"]}
    assert sorted(told) == sorted(rows[1][:3])
    assert all(value == pytest.approx(1 / 3, abs=0.02) for value in told.values())


@pytest.mark.parametrize("ridges", [[20.0, 20.000000001], [20.000000001, 20.0]])
def test_candidates_that_cannot_be_distinguished_keep_the_first(ridges, train, rows):
    fixed = "contrast=[0]", "saliency=[0]", "token_share=[0]", "assignment_temperature=[null]"
    fixed += "temperature=[0.1]", "count_power=[0]", f"ridge={ridges}"
    words = [word for one in fixed for word in ("--set", one)]
    run, *_ = train([row for row in rows[0] if row["split"] == "train"], *words)
    assert {setting["ridge"] for setting in selected(run).values()} == {ridges[0]}


@pytest.mark.parametrize("value", ["[20, 20.0]", "[]"])
def test_candidates_that_do_not_differ_are_refused(value, cign, world, tmp_path):
    out = tmp_path / "run"
    refused(
        cign("train", world.store, "--out", out, *SETTINGS, "--set", f"ridge={value}"),
        "ridge [",
        "must list different values, at least one",
    )
    assert not out.exists()
