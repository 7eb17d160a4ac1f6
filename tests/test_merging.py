"""Merging models: classes, history, settings, refusals, versions."""

import dataclasses
import time

import numpy as np
import pytest
import torch

from cign.data.media.decode import MediaSpec
from cign.learner import Learner
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import fit_rule
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.versions import list_versions, undo
from cign.training.arrival import ArrivalEstimate
from cign.updating.duplicates import without_duplicates
from cign.updating.edits import add_clips, remove_class, rename_class
from cign.updating.merging import merge_models
from cign.updating.resolving import resolve_model
from refusals import input_error
from summed import MoreClips, clips, learned, model_of
from toy import toy_loop, toy_method
from toy_model import same_answers, scores


def estimate(task):
    return ArrivalEstimate(
        task=task,
        num_classes=2,
        num_clips=3,
        num_alone=0,
        left_out="clips",
        measure="accuracy",
        percent={"audio": 1.0, "visual": 2.0, "audio_visual": 3.0},
        reason="",
    )


def test_classes_of_both_are_one_and_keep_the_order_of_learning():
    first = model_of((0, 1))
    second = model_of(
        (1, 2, 3, 4), 2, groups=(("class 1", "class 2"), (), ("class 3",), ("class 4",))
    )
    merged, report = merge_models([first, second])
    assert merged.groups == (("class 0", "class 1"), ("class 2",), ("class 3",), ("class 4",))
    assert merged.method.class_counts == [2, 1, 1, 1]
    assert report.new == ("class 2", "class 3", "class 4")
    assert report.shared == ("class 1",)
    assert report.clips == {f"class {c}": 14 if c == 1 else 7 for c in range(5)}
    assert merged.kept.num_clips == report.num_kept == 6
    rule = fit_rule(EvidenceReader(merged.method), merged.kept.source, np.arange(6))
    assert merged.unknown == rule
    assert rule.num_clips == 6
    assert [one.num_clips for one in report.effects] == [2, 4]
    assert merged.changes[-1]["text"] == (
        "merged with one of 4 classes, new: class 2, class 3, class 4, in several: class 1"
    )
    assert first.classes == ("class 0", "class 1")
    assert first.method.num_classes == 2


def test_the_effect_is_measured_on_the_validation_clips_of_each_model():
    first, second = model_of((0, 1)), model_of((1, 2), 2, kept=False)
    merged, report = merge_models([first, second])
    assert report.effects[1] is None
    kept = first.kept
    with torch.no_grad():
        for model, percent in (
            (first, report.effects[0].before),
            (merged, report.effects[0].after),
        ):
            found = model.method(kept.audio, kept.visual).probabilities["audio_visual"].argmax(1)
            hits = [
                model.classes[c] in names
                for c, names in zip(found.tolist(), kept.labels, strict=True)
            ]
            assert percent == pytest.approx(100 * sum(hits) / len(hits))


def test_histories_and_estimates_name_the_tasks_of_the_merged_model():
    first = dataclasses.replace(model_of((0, 1)), estimates=(estimate(1),))
    groups = (("class 1",), ("class 2",), ("class 3",))
    second = dataclasses.replace(
        model_of((1, 2, 3), 2, groups=groups),
        estimates=tuple(map(estimate, (1, 2, 3))),
        changes=({"date": "2026", "text": "added class 3", "task": "3", "list_hash": "7"},),
    )
    merged, _ = merge_models([first, second])
    assert merged.groups == (("class 0", "class 1"), ("class 2",), ("class 3",))
    assert [one.task for one in merged.estimates] == [1, 1, 2, 3]
    assert merged.changes[0] == {
        "date": "2026",
        "text": "before the merge, model B: added class 3",
        "task": "3",
        "list_hash": "7",
    }
    third, _ = merge_models([merged, model_of((4,), 3)])
    assert len(third.changes) == 3
    assert third.groups[-1] == ("class 4",)


def test_three_models_at_once_are_those_one_by_one():
    models = [model_of((0, 1)), model_of((1, 2), 2), model_of((3, 2), 3)]
    at_once, report = merge_models(models)
    one_by_one, _ = merge_models([merge_models(models[:2])[0], models[2]])
    assert at_once.groups == one_by_one.groups
    assert same_answers(scores(at_once), scores(one_by_one))
    assert report.shared == ("class 1", "class 2")
    assert len(report.effects) == 3


def test_merging_with_itself_is_reported_and_counts_twice():
    model = model_of((0, 1, 2))
    merged, report = merge_models([model, model])
    assert any("equal sums" in note for note in report.notes)
    assert any("3 validation clips of model B" in note for note in report.notes)
    assert merged.kept.num_clips == 3
    assert merged.method.class_clips.tolist() == [14, 14, 14]
    assert merged.groups == model.groups
    other = model_of((0, 1, 2), 2)
    merged, report = merge_models([model, other])
    assert report.notes == ()
    assert merged.kept.num_clips == 6
    for name in model.classes:  # one of each model, the first one first
        rows = [row for row, names in enumerate(merged.kept.labels) if names == (name,)]
        for row, one in zip(rows, (model, other), strict=True):
            (own,) = [r for r, names in enumerate(one.kept.labels) if names == (name,)]
            assert torch.equal(merged.kept.audio[row], one.kept.audio[own])


def test_a_name_in_another_normal_form_is_the_same_class():
    first = rename_class(model_of((0, 1)), "class 0", "caf\u00e9")
    second = model_of((0, 2), 2)
    second = dataclasses.replace(
        second,
        groups=(("cafe\u0301", "class 2"),),
        kept=second.kept.renamed("class 0", "cafe\u0301"),
    )
    merged, report = merge_models([first, second])
    assert merged.classes == ("caf\u00e9", "class 1", "class 2")
    assert report.shared == ("caf\u00e9",)
    assert {name for names in merged.kept.labels for name in names} <= set(merged.classes)


def test_without_validation_clips_there_is_no_threshold():
    merged, report = merge_models([model_of((0,), kept=False), model_of((1,), 2, kept=False)])
    assert merged.kept is None
    assert merged.unknown_threshold is None
    assert report.effects == (None, None)


def test_two_models_of_1000_classes_are_merged_in_seconds():
    pair = []
    for seed in (1, 2):
        method = toy_method("cign_analytic", {}).eval()  # all views at the default width
        method.grow(1000)
        generator = torch.Generator().manual_seed(seed)
        width = method.options.width
        rows = torch.randn(1200, width, generator=generator, dtype=torch.float64)
        for name, sums in method.named_buffers():
            if name.endswith(("_gram", "_cross")):
                sums.copy_(rows.T @ rows[:, : sums.shape[1]])
        method.class_clips += 10
        names = tuple(f"class {c}" for c in range(1000))
        pair.append(dataclasses.replace(model_of((0,)), method=method, groups=(names,), kept=None))
    began = time.monotonic()
    merged, _ = merge_models(pair)
    assert time.monotonic() - began < 5
    assert merged.method.class_clips.tolist() == [20.0] * 1000


def test_models_that_do_not_fit_are_refused():
    first = model_of((0, 1))

    def refused(other, *names):
        with input_error("unsupported", *names):
            merge_models([first, other])

    refused(dataclasses.replace(first, backbone="resnet18"), "small", "resnet18")
    refused(dataclasses.replace(first, fingerprint="g"), "weights", "small")
    refused(dataclasses.replace(first, regime="end-to-end"), "frozen", "end-to-end")
    refused(
        dataclasses.replace(first, spec=MediaSpec(num_frames=99)), "preprocessing", "num_frames"
    )
    refused(model_of((0, 1), options={"width": 31}), "width 30 and 31")
    refused(model_of((0, 1), options={"projection_seed": 5}), "projection_seed 0 and 5")
    refused(model_of((0, 1), options={"precision": "float32"}), "precision bfloat16 and float32")
    refused(model_of((0, 1), options={"ridge": [1.0, 2.0]}), "ridge")
    refused(model_of((0, 1), options={"saliency": [1.0]}), "saliency")
    refused(model_of((0, 1), multi_label=True), "one label per clip")
    other = learned("analytic", (0, 1), [clips(1)])
    refused(dataclasses.replace(first, method=other), "cign_analytic", "analytic")
    ncm = toy_loop("ncm", options={})
    ncm.run()
    refused(dataclasses.replace(first, method=ncm.method), "ncm", "analytic")
    shape = dataclasses.replace(first.method.setup.shape, num_audio_tokens=9)
    reshaped = model_of((0, 1))
    reshaped.method.setup = dataclasses.replace(reshaped.method.setup, shape=shape)
    refused(reshaped, "9 x 16")
    with input_error("bad-value", "1 models"):
        merge_models([first])
    with input_error("unknown-name", "'C'", "A", "B", "select"):
        merge_models([first, model_of((2,), 2)], "C")


@pytest.fixture(scope="module")
def unequal():
    """Two models with other settings of the audio."""
    options = {"ridge": [1.0, 40.0]}
    first, second = model_of((0, 1), options=options), model_of((1, 2), 2, options=options)
    return first, resolve_model(second, {"audio": {"ridge": 40.0}})[0]


def test_unequal_settings_must_be_decided(unequal):
    with input_error("missing-option", "audio ridge 1 / 40", "settings", "A|B|select"):
        merge_models(unequal)
    for settings, ridge in (("A", 1.0), ("B", 40.0), ("select", 1.0)):
        merged, report = merge_models(unequal, settings)
        assert merged.method.ridge_of("audio") == ridge
        assert merged.method.ridge_of("visual") == 1.0
        assert merged.method.audio.fixed == (settings == "B")
        assert report.settings == settings
        assert f"settings {settings}" in merged.changes[-1]["text"]
    # Both orders give the same model, but for the order of classes.
    one, two = merge_models(unequal, "B")[0], merge_models(unequal[::-1], "A")[0]
    order = [two.classes.index(name) for name in one.classes]
    for modality in ("audio", "visual", "audio_visual"):
        assert torch.allclose(scores(one)[modality], scores(two)[modality][:, order], atol=1e-6)


def test_fusion_is_one_of_the_settings():
    mean = {"fusion": {"kind": "mean"}}
    first, second = model_of((0, 1)), model_of((2,), 2, options=mean)
    with input_error("missing-option", "fusion own at temperature 1 / mean at temperature 1"):
        merge_models([first, second])
    merged, _ = merge_models([first, second], "B")
    assert merged.method.fusion == second.method.fusion == merged.method.options.fusion
    assert merge_models([first, second], "A")[0].method.fusion.kind == "own"


def test_learners_and_folders_are_merged_and_changes_undone(tmp_path):
    save_model(model_of((0, 1)), tmp_path / "one")
    save_model(model_of((1, 2), 2), tmp_path / "two")
    before = state_of(tmp_path / "one")
    learner = Learner.load(tmp_path / "one", device="cpu")
    learner.merge(tmp_path / "two")
    by_learner = Learner.load(tmp_path / "one", device="cpu")
    by_learner.merge(Learner.load(tmp_path / "two", device="cpu"))
    assert same_answers(scores(learner.model), scores(by_learner.model))
    learner.save(tmp_path / "one")
    merged = load_model(tmp_path / "one")
    assert same_answers(scores(merged), scores(learner.model))
    resolved = learner.resolve({"ridge": 12.0})
    assert resolved.changed == "audio ridge 1 -> 12; visual ridge 1 -> 12"
    assert "ridge 12" in resolved.settings
    learner.save(tmp_path / "one")
    again = load_model(tmp_path / "one")
    assert same_answers(scores(again), scores(learner.model))
    assert (again.method.audio.fixed, again.method.visual.fixed) == (True, True)
    assert again.method.ridge_of("audio") == 12.0
    texts = [one.text for one in list_versions(tmp_path / "one")]
    assert texts[1].startswith("merged with one of 2 classes")
    assert texts[2] == "settings changed: audio ridge 12; visual ridge 12"
    card = (tmp_path / "one/versions/3/README.md").read_text()
    assert "(those of audio and visual were set by hand)" in card
    assert undo(tmp_path / "one") == 2
    assert same_answers(scores(load_model(tmp_path / "one")), scores(merged))
    assert undo(tmp_path / "one") == 1
    after = state_of(tmp_path / "one" / "versions" / "1")
    assert after == before
    assert len(after) == 4


def state_of(folder):
    """Every file of a folder but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_merged_model_takes_further_changes():
    merged, _ = merge_models([model_of((0, 1)), model_of((1, 2), 2)])
    added, _ = add_clips(merged, MoreClips(merged))
    assert added.classes == ("class 0", "class 1", "class 2", "new")
    less = remove_class(added, "class 1")
    again, _ = merge_models([less, model_of((1,), 3)])
    assert again.classes == ("class 0", "class 2", "new", "class 1")


def test_models_are_checked_before_clips_are_read(tmp_path):
    """What is to be counted once is not even looked for."""
    first, second = model_of((0, 1)), model_of((1, 2), 2)
    nowhere = tmp_path / "nowhere"
    other = dataclasses.replace(second, backbone="another")
    with input_error("unsupported", "backbones small and another"):
        without_duplicates([first, other], nowhere, lambda: None)
    with input_error("bad-value", "27 models"):
        without_duplicates([first, *[second] * 26], nowhere, lambda: None)
