"""`cign add`, `versions`, `rename`, `remove` on real files: what they learn and tell."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.learner import Learner
from cign.saved_model.files import folder_in_use, read_about

from .adding import OPTIONS, add, refused, write


def told(learner, files):
    """Probabilities of each modality by class name."""
    return {
        (p.file, name, one["label"]): one["probability"]
        for p in learner.predict(files, top=99)
        for name, modality in p.modalities.items()
        for one in modality
    }


def test_a_run_keeps_a_few_validation_clips_in_half_precision(runs, old_store):
    about = json.loads((runs / "cign_analytic" / "model" / "model.json").read_text())
    assert about["kept"]["num_clips"] == 6  # two validation clips of each of three classes
    kept = load_file(runs / "cign_analytic" / "model" / "kept.safetensors")
    store = Store.open(old_store)
    np.testing.assert_array_equal(kept["audio"], store.tokens().audio(store.indices("val")))
    np.testing.assert_array_equal(kept["visual"], store.tokens().visual(store.indices("val")))
    assert {one.dtype for one in kept.values()} == {torch.float16}
    assert not (runs / "finetune" / "model" / "kept.safetensors").exists()
    for name, num_bytes in (("cign_analytic", about["kept"]["bytes"]), ("finetune", 0)):
        costs = json.loads((runs / name / "metrics.json").read_text())["costs"]
        assert costs["validation_bytes"] == num_bytes


@pytest.mark.parametrize("method", list(OPTIONS))
def test_adding_gives_what_learning_all_at_once_gives(method, cign, runs, tables, tiny, tmp_path):
    model = shutil.copytree(runs / method / "model", tmp_path / "model")
    code, _, err = add(cign, model, tables[1], tiny)
    assert code == 0, err
    at_once = Learner(method, options=OPTIONS[method]).learn(tiny[1], tasks=1)
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    wanted, found = told(at_once, files), told(Learner.load(model), files)
    assert wanted.keys() == found.keys()
    assert len(wanted) == 12 * 3 * 4
    keys = sorted(wanted)
    np.testing.assert_allclose([found[k] for k in keys], [wanted[k] for k in keys], atol=2e-3)
    again = Learner.load(model).evaluate(tiny[1])["modalities"]
    for name, numbers in at_once.metrics["modalities"].items():
        assert again[name]["last"] == numbers["last"]


def test_what_it_costs_is_measured_on_kept_clips_and_told_before_it_is_kept(
    cign, model, tables, tiny, rows, monkeypatch
):
    from cign.saved_model.versions import Workplace

    before = Learner.load(model)
    order = []
    keep = Workplace.keep
    monkeypatch.setattr(Workplace, "keep", lambda *args: order.append("kept") or keep(*args))
    monkeypatch.setattr("cign.cli.commands.add.show", lambda addition: order.append(addition))
    assert add(cign, model, tables[1], tiny)[0] == 0
    addition, last = order
    assert last == "kept"
    (name,) = set(rows[1]) - set(before.model.classes)
    assert addition.new == {name: 6}
    assert addition.known == {}
    assert addition.notes == ("left out, of splits test and unknown: 3 clips",)
    after = Learner.load(model)
    kept = before.model.kept
    scored = [
        one.model.method.predict(kept.audio, kept.visual)
        .probabilities["audio_visual"]
        .argmax(dim=1)
        .numpy()
        for one in (before, after)
    ]
    truth = np.array([before.model.classes.index(names[0]) for names in kept.labels])
    cost = addition.cost
    assert cost.num_clips == 6
    assert cost.before == pytest.approx(100 * np.mean(scored[0] == truth))
    assert cost.after == pytest.approx(100 * np.mean(scored[1] == truth))
    changed = scored[0] != scored[1]
    assert cost.to_new == pytest.approx(100 * np.mean(changed & (scored[1] == 3)))
    assert cost.to_old == pytest.approx(100 * np.mean(changed & (scored[1] != 3)))
    assert addition.num_new_kept == 2
    assert addition.num_kept == after.model.kept.num_clips == 8
    assert after.model.kept.num_bytes == addition.kept_bytes
    assert after.model.unknown_threshold != before.model.unknown_threshold


def test_the_answer_names_classes_costs_and_the_way_back(cign, model, tables, tiny, rows):
    code, out, err = add(cign, model, tables[1], tiny)
    assert code == 0
    assert f"new classes: {rows[1][-1]} (6 clips)" in out
    assert "old classes, 6 clips for validation: accuracy " in out
    assert "% to a new class" in out
    assert "added clips, 2 held out: accuracy " in out
    assert (
        f"{model}: version 2, 4 classes; `cign versions {model} --undo` reverts the change" in out
    )
    assert "left out, of splits test and unknown: 3 clips" in err
    code, out, _ = cign("versions", model)
    lines = [line.split() for line in out.splitlines() if line[:1].isdigit()]
    assert [line[0] for line in lines] == ["1", "2"]
    assert lines[1][1:4] == ["(current)", "added", rows[1][-1]]
    code, out, _ = cign("versions", model, "--undo")
    assert (code, out) == (0, f"{model}: reverted to version 1\n")
    assert Learner.load(model).model.classes == tuple(rows[1][:-1])
    refused(cign("versions", model, "--undo"), "no version before 1", "cign versions")


def test_more_clips_of_a_known_class_are_merged_and_it_is_said(cign, runs, rows, tiny, tmp_path):
    """Half of a class's clips first and half later are what all of them at once are."""
    found, classes = rows
    train = [row for row in found if row["labels"] == classes[0] and row["split"] == "train"]
    less = [row for row in found if row not in train[3:] and row["labels"] != classes[3]]
    store = tmp_path / "store"
    backbone = load_backbone("small-random")
    table = write(tmp_path / "less.csv", less)
    prepare(table, store, backbone=backbone, media=[tiny[0]], num_workers=0)
    model = tmp_path / "model"
    Learner("cign_analytic", options=OPTIONS["cign_analytic"]).learn(store, tasks=2).save(model)
    code, out, _ = add(cign, model, write(tmp_path / "more.csv", train[3:]), tiny)
    assert code == 0
    assert f"more clips, merged: {classes[0]} (3 clips)" in out
    assert "new classes" not in out
    got, wanted = (
        load_file(folder / "model.safetensors")
        for folder in (folder_in_use(model), runs / "cign_analytic" / "model")
    )
    for name in (name for name in wanted if not name.startswith("records.")):
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-4, err_msg=name)
    hashes = [{one.numpy().tobytes() for one in x["records.hashes"]} for x in (got, wanted)]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 18
    assert [one["task"] for one in read_about(model)["classes"]] == [1, 1, 2]


def test_class_folders_without_splits_are_learned_but_for_the_kept_clips(
    cign, model, rows, tiny, tmp_path
):
    source = tmp_path / "clips"
    new = [row for row in rows[0] if row["labels"] == rows[1][-1]]
    for number, row in enumerate(new):
        name = source / "Bjørk's «new»  class" / f"{number}.mp4"
        name.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny[0] / row["path"], name)
    (name.parent / "noise.mp4").write_text("not a film")
    learner = Learner.load(model)
    keeping = learner.add(source, num_workers=0)
    assert keeping.new == {"Bjørk's «new»  class": 10}
    assert keeping.num_new_kept == 1
    assert any("noise.mp4 (unreadable" in text for text in keeping.notes)
    code, out, _ = cign("add", model, source, "--workers", 0, "--no-keep")
    assert code == 0
    assert "Bjørk's «new»  class (11 clips)" in out
    assert "added clips" not in out
    after = Learner.load(model).model
    assert after.kept.labels == Learner.load(model / "versions" / "1").model.kept.labels
    (said,) = Learner.load(model).predict([name])
    assert said.label in after.classes


def test_splits_that_a_table_gives_to_class_folders_are_kept_to(model, rows, tiny, tmp_path):
    new = [row for row in rows[0] if row["labels"] == rows[1][-1]]
    listed = []
    for number, row in enumerate(new):
        path = tmp_path / "clips" / "new" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny[0] / row["path"], path)
        listed.append({"path": f"new/{number}.mp4", "labels": "new", "split": row["split"]})
    write(tmp_path / "clips" / "clips.csv", listed)
    addition = Learner.load(model).add(tmp_path / "clips", num_workers=0)
    assert addition.new == {"new": 6}
    assert addition.num_new_kept == 2


def test_a_clip_that_is_kept_is_never_learned(model, rows, tiny, tmp_path):
    """Not even where it is given again as a clip to learn from."""
    val = [row for row in rows[0] if row["split"] == "val" and row["labels"] == rows[1][0]]
    train = next(row for row in rows[0] if row["split"] == "train" and row["labels"] == rows[1][0])
    source = write(tmp_path / "again.csv", [{**row, "split": "train"} for row in [*val, train]])
    addition = Learner.load(model).add(source, media=[tiny[0]], num_workers=0)
    assert addition.known == {rows[1][0]: 1}
    assert "left out, already among the model's validation clips: 2 clips" in addition.notes


def test_a_model_without_kept_clips_says_that_the_cost_is_not_known(cign, model, tables, tiny):
    learner = Learner.load(model)
    learner.model.kept = None
    learner.save(model)
    code, out, _ = add(cign, model, tables[1], tiny, "--no-keep")
    assert code == 0
    assert "this model stores no validation clips, so the effect is unknown" in out
    assert not (folder_in_use(model) / "kept.safetensors").exists()


def test_rename_and_remove(cign, model, rows):
    first, second, third = rows[1][:3]
    assert cign("rename", model, first, "new name")[0] == 0
    refused(cign("rename", model, second, "new name"), "exists already")
    refused(cign("rename", model, "odd", "x"), "unknown class 'odd'", second)
    refused(cign("rename", model, second, "a/b"), "contains a slash")
    refused(cign("rename", model, second, "a\nb"), "line break")
    refused(cign("rename", model, second, "x" * 300), "300 characters", "1 to 100")
    code, out, _ = cign("remove", model, second)
    assert code == 0
    assert "sums over all clips remains" in out
    refused(cign("remove", model, second), "unknown class")
    assert Learner.load(model).model.classes == ("new name", third)
    assert cign("remove", model, third)[0] == 0
    refused(cign("remove", model, "new name"), "is the last one")
    assert [cign("versions", model, "--undo")[0] for _ in range(3)] == [0, 0, 0]
    assert Learner.load(model).model.classes == (first, second, third)


def test_a_prepared_store_is_added_without_decoding(cign, model, tiny, rows):
    code, out, _ = cign("add", model, tiny[1])
    assert code == 0
    assert f"new classes: {rows[1][-1]} (6 clips)" in out
    assert out.count("(6 clips)") == 4
    assert "count twice" in cign("add", model, tiny[1])[2]


def test_a_new_class_that_looks_like_an_old_one_is_reported(
    cign, model, rows, tables, tiny, tmp_path
):
    """The share is that of the predictions of the model before the addition."""
    found, classes = rows
    own = [row for row in found if row["labels"] == classes[0] and row["split"] == "train"]
    again = write(tmp_path / "again.csv", [{**row, "labels": "again"} for row in own])
    files = [tiny[0] / row["path"] for row in own]
    counts = Counter(one.label for one in Learner.load(model).predict(files))
    (old, number), *_ = counts.most_common()
    percent = 100 * number / len(own)
    assert (old, percent > 80) == (classes[0], True)  # it learned these clips
    options = ("--no-keep", "--out", tmp_path / "new")
    _, out, _ = add(cign, model, again, tiny, *options, "--json")
    expected = {"new": "again", "old": old, "percent": percent, "num_clips": len(own)}
    assert json.loads(out)["alike"] == [expected]
    shutil.rmtree(tmp_path / "new")
    _, out, _ = add(cign, model, again, tiny, *options)
    told = " ".join(out.split())
    assert f"again looks like {old}: before, {percent:.1f} % of its {len(own)} clips" in told
    # Two clips say too little, and so does a mixture of classes.
    shutil.rmtree(tmp_path / "new")
    write(tmp_path / "again.csv", [{**row, "labels": "again"} for row in own[:2]])
    assert json.loads(add(cign, model, again, tiny, *options, "--json")[1])["alike"] == []
    shutil.rmtree(tmp_path / "new")
    mixed = [row for row in found if row["labels"] != classes[-1] and row["split"] == "train"]
    write(tmp_path / "again.csv", [{**row, "labels": "again"} for row in mixed])
    assert json.loads(add(cign, model, again, tiny, *options, "--json")[1])["alike"] == []
