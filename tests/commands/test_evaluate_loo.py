"""`cign evaluate --loo` and the estimates at arrival: accuracy without test clips."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from cign.data.store import Store
from cign.learner import Learner
from cign.saved_model.files import read_about
from refusals import input_error

from .adding import OPTIONS, add, refused


@pytest.fixture(scope="module")
def at_once(old_store, tmp_path_factory):
    """A run of three classes in a single task."""
    run = tmp_path_factory.mktemp("at once") / "run"
    learner = Learner("cign_analytic", options=OPTIONS["cign_analytic"])
    return learner.learn(old_store, tasks=1, out=run), run


def test_each_task_and_addition_has_an_estimate(cign, runs, model, tables, tiny):
    metrics = json.loads((runs / "cign_analytic" / "metrics.json").read_text())
    first, second = metrics["leave_one_out"]
    assert [one["task"] for one in (first, second)] == [1, 2]
    assert second["num_classes"] == 3
    assert sum(metrics["num_train_per_class"].values()) == first["num_clips"] + second["num_clips"]
    for one in (first, second):
        assert (one["measure"], one["reason"], one["num_alone"]) == ("accuracy", "", 0)
        for percent in one["percent"].values():
            assert 0 <= percent <= 100
            assert percent * one["num_clips"] / 100 == pytest.approx(
                round(percent * one["num_clips"] / 100)
            )
    assert read_about(model)["leave_one_out"] == [first, second]
    assert "leave-one-out accuracy at arrival, over 3 classes" in (model / "README.md").read_text()

    code, out, err = add(cign, model, tables[1], tiny)
    assert code == 0, err
    *before, third = read_about(model)["leave_one_out"]
    assert before == [first, second]
    assert (third["task"], third["num_classes"]) == (3, 4)
    both = third["percent"]["audio_visual"]
    words = " ".join(out.split())
    assert f"leave-one-out accuracy at arrival, over 4 classes: {both:.1f} % (audio" in words


def test_training_shows_a_line_for_each_task(cign, old_store, tmp_path):
    options = [f"{name}={json.dumps(value)}" for name, value in OPTIONS["cign_analytic"].items()]
    settings = [part for one in options for part in ("--set", one)]
    run = tmp_path / "run"
    code, out, err = cign("train", old_store, "--out", run, "--tasks", 2, *settings)
    assert code == 0, err
    words = " ".join(out.split())
    for one in json.loads((run / "metrics.json").read_text())["leave_one_out"]:
        classes = "class" if one["num_classes"] == 1 else "classes"
        assert (
            f"task {one['task']}: leave-one-out accuracy at arrival, over {one['num_classes']} "
            f"{classes}: {one['percent']['audio_visual']:.1f} %"
        ) in words


def test_a_resumed_run_keeps_the_estimates_of_its_earlier_tasks(runs, old_store, tmp_path):
    run = tmp_path / "run"
    learner = Learner("cign_analytic", options=OPTIONS["cign_analytic"])
    wanted = learner.learn(old_store, tasks=2, out=run, keep_tasks=True).metrics["leave_one_out"]
    branch = Learner("cign_analytic", options=OPTIONS["cign_analytic"])
    branch.learn(old_store, branch_from=f"{run}@1", out=tmp_path / "branch")
    assert branch.metrics["leave_one_out"] == wanted


def test_it_equals_the_estimate_at_arrival_of_a_single_task(cign, at_once, old_store):
    learner, run = at_once
    (arrival,) = learner.metrics["leave_one_out"]
    code, out, err = cign("evaluate", run, old_store, "--loo", "--json")
    assert code == 0, err
    found = json.loads(out)
    for modality, percent in arrival["percent"].items():
        assert found["modalities"][modality]["value"] == pytest.approx(percent)
    assert found["num_clips"] == arrival["num_clips"] == found["loo"]["num_learned"]
    assert found["loo"]["num_alone"] == found["loo"]["num_singular"] == 0
    assert sum(one["num_clips"] for one in found["classes"]) == found["num_clips"]
    assert 0 <= found["calibration"]["audio_visual"]["ece"] <= 100
    # The same entries as for test clips, and the mark.
    usual = json.loads(cign("evaluate", run, old_store, "--json")[1])
    assert set(found) == set(usual) | {"loo"}


def test_it_does_not_depend_on_tasks(runs, at_once, old_store):
    """Whatever the tasks, all clips are in the sums, and each is left out of them."""
    found = Learner.load(runs / "cign_analytic").evaluate(old_store, loo=True)
    wanted = at_once[0].evaluate(old_store, loo=True)
    by_name = [{one["name"]: one["recall"] for one in each["classes"]} for each in (found, wanted)]
    assert by_name[0] == by_name[1]
    assert found["modalities"]["audio"]["last"] == wanted["modalities"]["audio"]["last"]


def test_what_it_prints(cign, at_once, old_store):
    code, out, err = cign("evaluate", at_once[1], old_store, "--loo")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].endswith(f"learned clips of {old_store}")
    assert "leave-one-out" in lines[1]
    assert any(line.startswith("expected calibration error, %: audio ") for line in lines)
    assert "recall per class, audio-visual, lowest first" in lines


def test_a_model_that_was_extended_needs_all_its_clips(cign, model, tables, tiny, old_store):
    code, _, err = add(cign, model, tables[1], tiny)
    assert code == 0, err
    new = Learner.load(model).classes[-1]
    refused(cign("evaluate", model, old_store, "--loo"), "0 train clips", repr(new), "additions")
    found = Learner.load(model).evaluate(tiny[1], loo=True)
    assert found["loo"]["num_learned"] == found["num_clips"]
    assert {one["name"] for one in found["classes"]} == set(Learner.load(model).classes)


def test_a_removed_class_does_not_matter(at_once, old_store):
    learner = Learner.load(at_once[1])
    wanted = learner.evaluate(old_store, loo=True)["num_clips"]
    gone = learner.classes[0]
    counts = at_once[0].metrics["num_train_per_class"]
    learner.remove(gone)
    assert learner.evaluate(old_store, loo=True)["num_clips"] == wanted - counts[gone]


def changed(store, **columns):
    """A store whose list of clips has other values in some columns."""
    clips = [
        dataclasses.replace(clip, **{name: of(i, clip) for name, of in columns.items()})
        for i, clip in enumerate(store.table.clips)
    ]
    return dataclasses.replace(store, table=dataclasses.replace(store.table, clips=clips))


def test_clips_that_the_model_did_not_learn_are_refused(at_once, old_store):
    learner, store = Learner.load(at_once[1]), Store.open(old_store)
    train = set(store.indices("train").tolist())
    first, *_ = sorted(train)
    fewer = changed(store, split=lambda i, clip: "val" if i == first else clip.split)
    with input_error("store-mismatch", store.table.clips[first].labels[0]):
        learner.evaluate(fewer, loo=True)
    # As many clips of each class, but one of them is another one.
    label = store.table.clips[first].labels
    other = next(i for i in store.indices("val") if store.table.clips[i].labels == label)
    swap = {first: "val", int(other): "train"}
    swapped = changed(store, split=lambda i, clip: swap.get(i, clip.split))
    with input_error("store-mismatch", "not the clips that it learned"):
        learner.evaluate(swapped, loo=True)


@pytest.mark.parametrize("allow", [False, True])
def test_clips_without_audio_are_counted_if_they_were_learned(allow, old_store):
    store = Store.open(old_store)
    train = store.indices("train")
    store = dataclasses.replace(store, audio_ok=np.arange(store.num_clips) != train[0])
    options = OPTIONS["cign_analytic"]
    learner = Learner("cign_analytic", options=options, allow_missing=allow).learn(store, tasks=1)
    found = learner.evaluate(store, loo=True)
    assert found["loo"]["num_learned"] == len(train) - (not allow)
    (arrival,) = learner.metrics["leave_one_out"]
    last = {name: numbers["last"] for name, numbers in found["modalities"].items()}
    assert last == pytest.approx(arrival["percent"])


def test_a_class_of_a_single_source_is_not_counted(old_store):
    store = Store.open(old_store)
    name = store.class_names[1]
    single = changed(
        store, source=lambda i, clip: "one recording" if name in clip.labels else clip.source
    )
    learner = Learner("cign_analytic", options=OPTIONS["cign_analytic"])
    learner.learn(single, tasks=1)
    (arrival,) = learner.metrics["leave_one_out"]
    counts = learner.metrics["num_train_per_class"]
    assert arrival["num_alone"] == counts[name]
    assert arrival["num_clips"] == sum(counts.values()) - counts[name]
    assert "not counted" in str(learner.model.estimates[0])
    found = learner.evaluate(single, loo=True)
    assert found["loo"]["alone"] == [name]
    assert found["loo"]["num_alone"] == counts[name]
    assert [one["recall"] for one in found["classes"] if one["name"] == name] == [None]


def test_nothing_can_be_left_out_if_every_class_has_a_single_source(old_store):
    store = changed(Store.open(old_store), source=lambda i, clip: clip.labels[0])
    learner = Learner("analytic", options=OPTIONS["analytic"]).learn(store, tasks=1)
    (arrival,) = learner.metrics["leave_one_out"]
    assert (arrival["num_clips"], arrival["percent"]) == (0, {})
    assert "single source" in arrival["reason"]
    assert "single source" in str(learner.model.estimates[0])
    with input_error("no-clips", "single source"):
        learner.evaluate(store, loo=True)


def test_other_methods_and_options_are_refused(cign, runs, old_store, world, tmp_path):
    refused(cign("evaluate", runs / "finetune", old_store, "--loo"), "finetune", "cign_analytic")
    run = runs / "cign_analytic"
    refused(cign("evaluate", run, old_store, "--loo", "--split", "val"), "--split")
    refused(cign("evaluate", run, old_store, "--loo", "--out", tmp_path / "a.csv"), "--out")
    with input_error("conflicting-options"):
        Learner.load(run).evaluate(old_store, loo=True, split="val")
    other = Store.open(old_store)
    learner = Learner.load(run)
    learner.model.fingerprint = "0" * 64
    with input_error("weights-mismatch"):
        learner.evaluate(other, loo=True)


def test_an_addition_as_json(cign, model, tables, tiny):
    code, out, err = add(cign, model, tables[1], tiny, "--json")
    assert code == 0, err
    found = json.loads(out)
    with tables[1].open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    assert list(found["new"].values()) == [len(rows)]
    assert found["estimate"] == read_about(model)["leave_one_out"][-1]
    assert np.isfinite(found["seconds"])
