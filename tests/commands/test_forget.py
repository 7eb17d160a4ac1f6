"""`cign forget`, `cign add --replace` and `cign merge --once` on models of real files."""

import json
import shutil

import numpy as np
import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.learner import Learner
from cign.saved_model.files import folder_in_use, read_about

from .adding import OPTIONS, add, refused, state_of, write

NAMES = ("analytic", "cign_analytic")


@pytest.fixture(scope="module")
def stores(tiny, rows, tmp_path_factory):
    """A function that prepares some rows of the corpus's table."""
    folder = tmp_path_factory.mktemp("some")

    def make(some):
        number = len(list(folder.glob("*.csv")))
        table = write(folder / f"{number}.csv", some)
        place = folder / f"store{number}"
        backbone = load_backbone("small-random")
        how = {"media": [tiny[0]], "num_workers": 0, "min_classes": 1, "require_train": False}
        prepare(table, place, backbone=backbone, **how)
        return place

    return make


def forget(cign, model, clips, tiny, *options):
    return cign("forget", model, clips, "--media", tiny[0], "--workers", 0, *options)


def sums(model):
    """Sums and counts, which are in float64; Gram matrices without their upper triangles."""
    state = Learner.load(model).model.method.state_dict()
    return {
        name: torch.tril(values) if name.endswith("gram") else values
        for name, values in state.items()
        if name.endswith(("_gram", "_cross", "class_clips"))
    }


def check_same(found, wanted, tolerance=1e-6):
    found, wanted = sums(found), sums(wanted)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].shape == values.shape
        assert (found[name] - values).abs().max() <= tolerance * values.abs().max(), name


@pytest.mark.parametrize("name", NAMES)
def test_a_forgotten_class_was_never_learned(
    name, cign, tiny, rows, tables, old_store, runs, tmp_path
):
    """All clips are learned; those of the last class are forgotten, validation clips included."""
    Learner(name, options=OPTIONS[name]).learn(tiny[1], tasks=2, out=tmp_path / "run")
    code, out, err = forget(
        cign, tmp_path / "run", tables[1], tiny, "--out", tmp_path / "m", "--only-learned"
    )
    assert code == 0, err
    gone = rows[1][-1]
    assert f"forgotten: {gone} (6 clips)" in out
    assert "forgotten, stored for validation: 2 clips" in out
    assert f"classes without clips, removed: {gone}" in out
    assert "3 classes" in out
    model, never = Learner.load(tmp_path / "m"), Learner.load(runs / name)
    assert sorted(model.classes) == sorted(never.classes)
    assert model.classes == never.classes
    check_same(tmp_path / "m", runs / name)
    first, second = model.model.kept, never.model.kept
    assert torch.equal(first.audio, second.audio)
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    for one, other in zip(model.predict(files), never.predict(files), strict=True):
        wanted = {x["label"]: x["probability"] for x in other.modalities["audio_visual"]}
        for x in one.modalities["audio_visual"]:
            assert abs(x["probability"] - wanted.get(x["label"], x["probability"])) <= 1e-4
    records = model.model.method.records
    assert len(records) == 18
    assert len(records.forgotten) == 6
    assert "forgot 6 clips" in read_about(tmp_path / "m")["changes"][-1]["text"]


def test_a_version_that_can_be_undone(cign, model, old_store, tiny, rows, stores):
    before = state_of(folder_in_use(model))
    some = [row for row in rows[0] if row["split"] == "train" and row["labels"] == rows[1][0]][:2]
    place = stores(some)
    code, out, err = cign("forget", model, place, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["clips"] == {rows[1][0]: 2}
    assert told["num_clips"] == 2
    refused(cign("forget", model, place), "2 clips", "was forgotten on 20", "--only-learned")
    code, _, err = cign("versions", model, "--undo")
    assert code == 0, err
    after = state_of(folder_in_use(model))
    assert after.keys() == before.keys()
    assert all(after[name] == data for name, data in before.items())
    code, _, err = cign("forget", model, place)
    assert code == 0, err


def test_forgotten_and_added_again_is_as_before(cign, model, tiny, rows, stores):
    wanted = sums(model)
    some = [row for row in rows[0] if row["split"] == "train" and row["labels"] == rows[1][1]]
    place = stores(some[:3])
    assert cign("forget", model, place)[0] == 0
    assert cign("add", model, place)[0] == 0
    for name, values in sums(model).items():
        assert (values - wanted[name]).abs().max() <= 1e-6 * wanted[name].abs().max(), name
    records = Learner.load(model).model.method.records
    assert len(records.forgotten) == 0


def test_added_twice_counts_twice_unless_it_is_replaced(cign, model, tiny, rows, stores, tmp_path):
    """A clip with a wrong label is learned with the right one."""
    some = [row for row in rows[0] if row["split"] == "train" and row["labels"] == rows[1][1]][:1]
    place = stores([{**some[0], "labels": rows[1][2]}])
    copy = shutil.copytree(model, tmp_path / "copy")
    code, _, err = cign("add", copy, place)
    assert code == 0, err
    assert "learned before, so that they count twice now: 1 clip; use --replace" in err
    assert sums(copy)["class_clips"].tolist() == [6, 6, 7]
    code, out, err = cign("add", model, place, "--replace")
    assert code == 0, err
    assert "earlier labels forgotten: 1 clip" in out
    assert sums(model)["class_clips"].tolist() == [6, 5, 7]
    relabelled = [row for row in rows[0] if row != some[0]]
    relabelled.append({**some[0], "labels": rows[1][2]})  # last, for the order of the classes
    old = [row for row in relabelled if row["labels"] in rows[1][:3]]
    Learner("cign_analytic", options=OPTIONS["cign_analytic"]).learn(
        stores(old), tasks=2, out=tmp_path / "run"
    )
    check_same(model, tmp_path / "run")


def test_a_class_whose_clips_get_other_labels_is_removed(cign, model, rows, stores):
    """What is printed is the state after the earlier labels were forgotten."""
    last, other = rows[1][2], rows[1][0]
    some = [row for row in rows[0] if row["split"] == "train" and row["labels"] == last]
    code, out, err = cign(
        "add", model, stores([{**row, "labels": other} for row in some]), "--replace"
    )
    assert code == 0, err
    assert f"removed, because no clip is left: {last}" in out
    learner = Learner.load(model)
    assert learner.classes == tuple(rows[1][:2])
    assert learner.model.changes[-1]["text"].endswith(f", removed {last}")
    size = f"statistics of {learner.model.method.state_bytes / 1e6:.1f} MB"
    assert f"{size} and {learner.model.kept.num_clips} clips" in out


def test_clips_of_a_removed_class_are_forgotten_with_a_word(cign, model, rows, stores):
    name = rows[1][1]
    some = [row for row in rows[0] if row["split"] == "train" and row["labels"] == name]
    assert cign("remove", model, name)[0] == 0
    code, out, err = cign("forget", model, stores(some))
    assert code == 0, err
    assert "forgotten, of removed classes: 6 clips" in out
    text = read_about(folder_in_use(model))["changes"][-1]["text"]
    assert text == "forgot 6 clips of removed classes"


def test_validation_clips_of_another_class_are_not_of_this_one(cign, model, rows, stores):
    other = rows[1][1]
    some = [row for row in rows[0] if row["split"] == "val" and row["labels"] == other]
    refused(
        cign("forget", model, stores(some), "--class", rows[1][0]),
        "none of 2 clips was learned as class",
    )


def test_clips_of_two_models_count_once(cign, tiny, rows, stores, tmp_path):
    classes = rows[1]
    common = [r for r in rows[0] if r["labels"] == classes[1] and r["split"] == "train"]
    first = [r for r in rows[0] if r["labels"] == classes[0] and r["split"] == "train"]
    second = [r for r in rows[0] if r["labels"] == classes[2] and r["split"] == "train"]
    options = OPTIONS["cign_analytic"]
    parts = {"a": first + common, "b": common + second, "all": first + common + second}
    for name, some in parts.items():
        learner = Learner("cign_analytic", options=options)
        learner.learn(stores(some), tasks=1, out=tmp_path / name)
    run = tmp_path / "a", tmp_path / "b"
    code, _, err = cign("merge", *run, "--out", tmp_path / "twice")
    assert code == 0, err
    assert "learned by several models, so that they count several times: 6 clips" in err
    assert sums(tmp_path / "twice")["class_clips"].tolist() == [6, 12, 6]
    once = stores(common)
    code, out, err = cign("merge", *run, "--out", tmp_path / "once", "--once", once)
    assert code == 0, err
    assert "counted once: 6 clips" in out
    assert "several times" not in err
    check_same(tmp_path / "once", tmp_path / "all")
    few = stores(common[:2])
    refused(
        cign("merge", *run, "--out", tmp_path / "x", "--once", few),
        "4 clips that model B and an earlier one have learned are not among the given clips",
    )
    refused(
        cign("merge", run[0], run[0], "--out", tmp_path / "x", "--once", stores(first + common)),
        "model B has learned no clip that the others lack",
    )
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_forgotten(cign, model, runs, tiny, rows, stores, tables, old_store):
    before = state_of(model)
    test = stores([row for row in rows[0] if row["split"] == "test"])
    refused(cign("forget", model, test), "was never learned by this model", "--only-learned")
    refused(cign("forget", model, test, "--only-learned"), "was never learned")
    refused(
        cign("forget", model, old_store, "--only-learned"), "no clip of any class would be left"
    )
    some = stores([row for row in rows[0] if row["labels"] == rows[1][0]])
    refused(cign("forget", model, some, "--class", rows[1][1]), f"learned as class '{rows[1][1]}'")
    refused(cign("forget", model, some, "--class", "zzz"), "class", "zzz")
    refused(cign("forget", runs / "finetune", some, "--out", model.parent / "x"), "method finetune")
    refused(cign("forget", runs / "slda", some, "--out", model.parent / "x"), "no sums")
    refused(cign("forget", model, model.parent / "nothing"), "nothing")
    assert state_of(model) == before


def test_a_model_without_records_says_so(cign, model, tiny, rows, stores):
    learner = Learner.load(model)
    method = learner.model.method
    method.records.drop(list(range(len(method.records))), 0)
    learner.save(model)
    some = stores([row for row in rows[0] if row["labels"] == rows[1][0]])
    refused(cign("forget", model, some), "does not record all its clips")


def test_the_encoders_were_trained_on_the_clips_of_the_first_task(cign, old_store, tmp_path):
    options = {**OPTIONS["cign_analytic"], "adaptation": {"num_epochs": 1, "batch_size": 4}}
    learner = Learner(
        "cign_analytic", options=options, regime="end-to-end", backbone="small-random"
    )
    learner.learn(old_store, tasks=2, out=tmp_path / "run")
    refused(
        cign("forget", tmp_path / "run", old_store, "--out", tmp_path / "m", "--only-learned"),
        "clips of the first task trained the encoders",
    )
    learner = Learner.load(tmp_path / "run")
    last = learner.model.groups[1][0]
    records = learner.model.method.records
    assert np.bincount(records.arrivals.numpy()).tolist() == [12, 6]
    assert last in learner.classes


def test_copies_with_trained_encoders_count_the_clips_of_their_original_once(
    cign, old_store, tables, tiny, tmp_path
):
    options = {**OPTIONS["cign_analytic"], "adaptation": {"num_epochs": 1, "batch_size": 4}}
    learner = Learner(
        "cign_analytic", options=options, regime="end-to-end", backbone="small-random"
    )
    learner.learn(old_store, tasks=1, out=tmp_path / "run")
    more = tmp_path / "more"
    code, _, err = add(cign, tmp_path / "run", tables[1], tiny, "--out", more)
    assert code == 0, err
    words = ("merge", tmp_path / "run", more, "--settings", "A", "--out", tmp_path / "both")
    code, out, err = cign(*words, "--once", old_store)
    assert code == 0, err
    assert "counted once: 18 clips" in out
    check_same(tmp_path / "both", more)


def test_how_clips_are_read_needs_clips(cign, runs, tmp_path):
    run = runs / "cign_analytic"
    words = ("merge", run, run, "--out", tmp_path / "x", "--media", tmp_path)
    refused(cign(*words), "format and media describe the clips that are counted once")
