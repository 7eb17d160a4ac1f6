"""`cign add` and its like: what they refuse, without a change of what was there."""

import json
import shutil
import subprocess
import sys

from safetensors.torch import load_file

from cign.learner import Learner
from cign.saved_model.files import folder_in_use
from cign.utils.files import folder_lock
from refusals import input_error

from .adding import add, refused, state_of, write


def test_a_run_is_changed_only_as_a_copy(cign, runs, tables, tiny, tmp_path):
    run = runs / "cign_analytic"
    before = state_of(run)
    for place in (run, run / "model"):
        refused(add(cign, place, tables[1], tiny), "belongs to a run", "--out")
    refused(cign("rename", run, "a", "b"), "belongs to a run")
    refused(cign("remove", run, "a"), "belongs to a run")
    copy = tmp_path / "copy"
    code, out, _ = add(cign, run, tables[1], tiny, "--out", copy)
    assert code == 0
    assert f"{copy}: 4 classes; {run / 'model'} is unchanged" in out
    assert len(Learner.load(copy).model.classes) == 4
    assert state_of(run) == before
    refused(add(cign, run, tables[1], tiny, "--out", copy), "is not empty")
    refused(cign("remove", run, "odd", "--out", tmp_path / "none"), "unknown class 'odd'")
    assert not (tmp_path / "none").exists()
    refused(cign("versions", run, "--undo"), "no version before 1")
    assert cign("versions", run)[0] == 0


def test_input_that_cannot_be_added_changes_nothing(cign, model, runs, rows, tiny, tmp_path):
    before = state_of(model)
    new = [row for row in rows[0] if row["labels"] == rows[1][-1]]

    def table(name, **changes):
        return write(tmp_path / f"{name}.csv", [{**row, **changes} for row in new])

    refused(add(cign, model, table("slash", labels="a/b"), tiny), "'a/b' contains a slash")
    refused(add(cign, model, table("line", labels="a\nb"), tiny), "line break")
    refused(add(cign, model, table("long", labels="x" * 300), tiny), "has 300 characters")
    refused(add(cign, model, table("two", labels="a|b"), tiny), "several labels (a|b)")
    refused(
        add(cign, model, table("test", split="test"), tiny),
        "none of 11 clips can be used for training",
    )
    refused(add(cign, model, tmp_path / "none.csv", tiny), "does not exist")
    some = [{**row, "labels": "only val"} if row["split"] == "val" else row for row in new]
    refused(
        add(cign, model, write(tmp_path / "val.csv", some), tiny), "'only val' has no training clip"
    )
    bad = tmp_path / "bad" / "noise"
    bad.mkdir(parents=True)
    (bad / "one.mp4").write_text("not a film")
    refused(cign("add", model, tmp_path / "bad", "--workers", 0), "no usable clip")
    assert state_of(model) == before
    gradient = shutil.copytree(runs / "finetune" / "model", tmp_path / "finetune")
    sentence = (
        "method finetune cannot be changed without its old clips",
        "analytic or cign_analytic",
    )
    refused(add(cign, gradient, table("good"), tiny), *sentence)
    refused(cign("remove", gradient, rows[1][0]), *sentence)
    assert cign("rename", gradient, rows[1][0], "other")[0] == 0  # touches no weight


def test_what_the_list_shows_is_refused_before_anything_is_decoded(
    cign, model, rows, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr("cign.updating.new_clips.prepare", None)  # calling it would be a TypeError
    new = [row for row in rows[0] if row["labels"] == rows[1][-1]]

    def table(name, rows):
        return write(tmp_path / f"{name}.csv", rows)

    slash = [{**row, "labels": "a/b"} for row in new]
    refused(add(cign, model, table("slash", slash), tiny), "class name 'a/b' contains a slash")
    several = [{**row, "labels": "a|b"} for row in new]
    refused(add(cign, model, table("several", several), tiny), "several labels (a|b)")
    test = [{**row, "split": "test"} for row in new]
    refused(add(cign, model, table("test", test), tiny), "none is in split train")
    val = [{**row, "labels": "only val"} if row["split"] == "val" else row for row in new]
    refused(add(cign, model, table("val", val), tiny), "class 'only val' has no training clip")
    long = tmp_path / "long" / ("x" * 120)
    long.mkdir(parents=True)
    shutil.copy(tiny[0] / new[0]["path"], long / "one.mp4")
    refused(cign("add", model, long.parent), "has 120 characters")
    # A bad name in a split that nothing is taken from does no harm, here or after decoding.
    unused = [{**row, "labels": "a/b"} if row["split"] == "test" else row for row in new]
    code, _, err = add(cign, model, table("unused", unused), tiny)
    assert code == 1
    assert "'NoneType' object is not callable" in err


def test_tokens_of_another_backbone_are_refused(cign, model, tiny, tmp_path):
    store = shutil.copytree(tiny[1], tmp_path / "store")
    info = store / "tokens" / "small-random" / "tokens.json"
    record = json.loads(info.read_text())
    refused(cign("add", model, store, "--format", "table"), "leave out --format")
    info.write_text(json.dumps({**record, "fingerprint": "0" * 64}))
    refused(cign("add", model, store), "other weights of backbone small-random")
    shutil.rmtree(store / "tokens")
    refused(cign("add", model, store), "no tokens of backbone 'small-random'")
    about = json.loads((model / "model.json").read_text())
    about["backbone"]["fingerprint"] = "0" * 64
    (model / "model.json").write_text(json.dumps(about))
    clips = tiny[0] / "test"
    refused(
        cign("add", model, clips, "--workers", 0), "has other weights than the model was trained"
    )


def test_a_singular_solution_leaves_the_model_as_it_was(cign, model, tables, tiny):
    about = json.loads((model / "model.json").read_text())
    about["options"].update(ridge=[0.0], width=60)
    (model / "model.json").write_text(json.dumps(about))
    weights = load_file(model / "model.safetensors")
    learner = Learner.load(model)
    ridge = learner.model.method.of("audio")
    ridge.statistics_of(ridge.setting.view).whole_gram.fill_(float("inf"))
    learner.save(model)
    path = folder_in_use(model) / "model.safetensors"
    before = path.read_bytes()
    code, _, err = add(cign, model, tables[1], tiny)
    assert code == 1
    assert "is singular with ridge" in err
    assert path.read_bytes() == before
    assert set(weights) == set(load_file(path))
    assert folder_in_use(model) == path.parent
    assert len(Learner.load(model).model.classes) == 3


def test_a_changed_byte_is_refused(cign, model, tables, tiny):
    data = bytearray((model / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (model / "model.safetensors").write_bytes(bytes(data))
    refused(add(cign, model, tables[1], tiny), "was changed or damaged", "checksum")
    refused(cign("remove", model, "x"), "was changed or damaged")


def test_two_at_once_the_second_is_refused(cign, model, tables, tiny):
    holder = (
        "import sys; from pathlib import Path; from cign.utils.files import folder_lock\n"
        "with folder_lock(Path(sys.argv[1]), 'model'): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", holder, str(model)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        refused(add(cign, model, tables[1], tiny), f"model {model} is in use by another process")
        other.communicate("\n")
    assert add(cign, model, tables[1], tiny)[0] == 0
    with folder_lock(model, "model"), input_error("busy"):
        Learner.load(model).save(model)
