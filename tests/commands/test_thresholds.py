"""`cign thresholds`: chosen from the learned clips, stored with undo, and used by predictions."""

import json

import numpy as np
import pytest

from cign.data.store import Store
from cign.inference.leave_one_out import predict_left_out
from cign.inference.sources import LearnedClips
from cign.learner import Learner
from cign.saved_model.files import folder_in_use, read_about
from cign.saved_model.folder import load_model
from cign.saved_model.versions import list_versions
from cign.vocabulary import MODALITIES
from refusals import input_error

from .adding import add, refused, state_of


def test_they_are_stored_shown_and_undone(cign, model, old_store):
    before = read_about(model)
    code, out, err = cign("thresholds", model, old_store, "--precision", 0.8)
    assert code == 0, err
    assert "for precision 0.8" in out
    assert "version 2" in out
    about = read_about(model)
    assert before["thresholds"] is None
    assert (about["thresholds"]["measure"], about["thresholds"]["wanted"]) == ("precision", 0.8)
    names = [one["name"] for one in about["classes"]]
    assert list(about["thresholds"]["classes"]) == names
    assert (
        "for precision 0.8; a prediction below" in (folder_in_use(model) / "README.md").read_text()
    )
    assert list_versions(model)[-1].text == "thresholds of classes chosen for precision 0.8"

    code, out, err = cign("thresholds", model)
    assert code == 0, err
    rule = load_model(model).unknown
    assert f"based on {rule.num_clips} validation clips" in out
    lines = out.splitlines()
    for name in names:
        one = about["thresholds"]["classes"][name]["audio_visual"]
        (row,) = [line.split() for line in lines if line.startswith(name)]
        assert row[-1] == str(one["num_clips"])
        assert row[1] == ("-" if one["threshold"] is None else f"{one['threshold']:.3f}")
    found = json.loads(cign("thresholds", model, "--json")[1])
    assert found["classes"] == about["thresholds"]
    assert found["unknown"]["num_clips"] == rule.num_clips

    assert cign("versions", model, "--undo")[0] == 0
    assert read_about(model) == before


def test_they_are_those_of_the_left_out_clips(model, old_store):
    """Precision and recall by counting, at the stored thresholds."""
    learner, store = Learner.load(model), Store.open(old_store)
    found = learner.thresholds(store, precision=0.75)
    predictions = predict_left_out(learner.model, LearnedClips.open(learner.model, store))
    for modality in MODALITIES:
        scores = predictions.found.probabilities[modality].double().numpy()
        truth, first = predictions.targets.argmax(axis=1), scores.argmax(axis=1)
        for c, name in enumerate(learner.classes):
            one = found.classes[name][modality]
            assert one.num_clips == (truth == c).sum()
            if one.threshold is None:
                assert not ((first == c) & (truth == c)).any()
                continue
            assigned = (first == c) & (scores[:, c] >= one.threshold)
            right = assigned & (truth == c)
            assert one.precision == pytest.approx(right.sum() / assigned.sum())
            assert one.recall == pytest.approx(right.sum() / (truth == c).sum())
            assert one.is_reached == (one.precision >= 0.75)


def test_a_recall_of_1_assigns_every_clip_that_can_be(model, old_store):
    learner = Learner.load(model)
    found = learner.thresholds(old_store, recall=1.0)
    assert found.measure == "recall"
    for name in found.not_reached:
        one = found.classes[name]["audio_visual"]
        assert one.recall is None or one.recall < 1


def with_thresholds(model, old_store, threshold):
    """The model with the same threshold for each class, and its learner."""
    from dataclasses import replace

    learner = Learner.load(model)
    found = learner.thresholds(old_store)
    classes = {
        name: {m: replace(one, threshold=threshold) for m, one in by_modality.items()}
        for name, by_modality in found.classes.items()
    }
    learner.model.thresholds = replace(found, classes=classes)
    return learner


def test_predictions_below_a_threshold_are_marked(cign, model, old_store, world, tmp_path):
    clips = world.test_clips()
    usual = [one.to_dict() for one in Learner.load(model).predict(clips)]
    for one in usual:
        assert (one["labels"], one["threshold"], one["below_threshold"]) == (
            [one["label"]],
            None,
            None,
        )
    values = [one["modalities"]["audio_visual"][0]["probability"] for one in usual]
    middle = float(np.median(values)) + 1e-7
    learner = with_thresholds(model, old_store, middle)
    found = [one.to_dict() for one in learner.predict(clips)]
    assert [one["below_threshold"] for one in found] == [value < middle for value in values]
    assert {one["below_threshold"] for one in found} == {True, False}
    for one, before in zip(found, usual, strict=True):
        assert one["labels"] == ([] if one["below_threshold"] else [one["label"]])
        assert one["threshold"] == round(middle, 6)
        new = ("labels", "threshold", "below_threshold")
        assert {k: v for k, v in one.items() if k not in new} == {
            k: v for k, v in before.items() if k not in new
        }
    learner.save(tmp_path / "marked")
    code, out, err = cign("predict", tmp_path / "marked", *clips)
    assert code == 0, err
    marked = [one for one in found if one["below_threshold"]]
    assert out.count(f"uncertain: below {middle:.2f}, the threshold of ") == len(marked)


def test_a_clip_without_a_modality_has_the_threshold_of_the_other(model, old_store):
    from dataclasses import replace

    learner = with_thresholds(model, old_store, 0.5)
    thresholds = learner.model.thresholds
    classes = {
        name: {**one, "audio": replace(one["audio"], threshold=0.123)}
        for name, one in thresholds.classes.items()
    }
    learner.model.thresholds = replace(thresholds, classes=classes)
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.1, 16_000).astype(np.float32)
    assert learner.predict(audio=sound, rate_hz=16_000).one().threshold == 0.123


def test_changes_of_the_model_drop_them_with_a_note(cign, model, tables, tiny, old_store):
    assert cign("thresholds", model, old_store)[0] == 0
    names = load_model(model).classes
    assert cign("rename", model, names[0], "new name")[0] == 0
    assert list(load_model(model).thresholds.classes) == ["new name", *names[1:]]
    assert cign("rename", model, "new name", names[0])[0] == 0
    code, _, err = add(cign, model, tables[1], tiny)
    assert code == 0, err
    assert "thresholds of classes were chosen for the model before this change" in err
    assert load_model(model).thresholds is None
    assert load_model(model).changes[-1]["dropped"] == "thresholds"
    code, _, err = add(cign, model, tables[1], tiny)  # nothing is left to be dropped
    assert "thresholds of classes" not in err


@pytest.mark.parametrize("change", ["resolve", "remove", "merge", "forget"])
def test_each_change_drops_them(change, model, runs, old_store):
    learner = Learner.load(model)
    assert learner.thresholds(old_store) is not None
    if change == "resolve":
        learner.resolve({"ridge": 7.0})
    elif change == "remove":
        learner.remove(learner.classes[0])
    elif change == "forget":
        learner.forget(old_store, class_name=learner.classes[0], only_learned=True)
    else:
        learner.merge(runs / "cign_analytic")
    assert learner.thresholds() is None
    assert learner.model.changes[-1]["dropped"] == "thresholds"


def test_they_are_removed(cign, model, old_store):
    assert cign("thresholds", model, old_store)[0] == 0
    code, _, err = cign("thresholds", model, "--clear")
    assert code == 0, err
    assert read_about(model)["thresholds"] is None
    refused(cign("thresholds", model, "--clear"), "no thresholds")


def test_a_run_is_shown_and_copied_but_not_changed(cign, runs, old_store, tmp_path):
    run = runs / "cign_analytic"
    before = state_of(run)
    assert "none" in cign("thresholds", run)[1]
    refused(cign("thresholds", run, old_store), "--out")
    code, _, err = cign("thresholds", run, old_store, "--out", tmp_path / "copy")
    assert code == 0, err
    assert state_of(run) == before
    assert load_model(tmp_path / "copy").thresholds is not None


def test_bad_input_is_refused(cign, model, runs, tables, old_store, tiny):
    before = state_of(model)
    for value in ("0", "1.5", "nan", "-0.1", "many"):
        refused(cign("thresholds", model, old_store, "--precision", value), value)
    both = ("--precision", "0.9", "--recall", "0.9")
    refused(cign("thresholds", model, old_store, *both), "--precision", "--recall")
    refused(cign("thresholds", model, "--recall", "0.9"), "--recall", "CLIPS")
    refused(cign("thresholds", model, old_store, "--clear"), "--clear")
    refused(cign("thresholds", runs / "finetune" / "model", old_store), "finetune")
    assert state_of(model) == before
    learner = Learner.load(model)
    with input_error("missing-option"):
        learner.thresholds(recall=0.9)
    with input_error("conflicting-options"):
        learner.thresholds(old_store, clear=True)
    with input_error("bad-value", "precision"):
        learner.thresholds(old_store, precision=2)
