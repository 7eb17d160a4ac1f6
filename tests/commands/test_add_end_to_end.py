"""Changing models whose encoders were trained on the first task and are part of the model."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cign.app.service import Service
from cign.backbones.registry import load_backbone
from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.data.tasks import TaskClips, TaskSequence
from cign.learner import Learner
from cign.methods.cign_analytic import CignAnalytic
from cign.metrics.predictions import Predictions
from cign.networks.triangles import packed
from cign.saved_model.files import folder_in_use, read_about
from cign.training.loop import Loop
from toy import FIXED

from .adding import add, refused, state_of, write

ADAPTATION = {"num_epochs": 1, "batch_size": 4}
FIXED_OPTIONS = {
    name: {**FIXED[name], "width": 50, "ridge": [5.0], "adaptation": ADAPTATION} for name in FIXED
}
POOLED = {name: {"adaptation": ADAPTATION} for name in ("ncm", "slda", "fecam")} | {
    "ranpac": {"width": 50, "ridge": [5.0], "adaptation": ADAPTATION}
}
SELECTING = {**FIXED_OPTIONS["cign_analytic"], "ridge": [5.0, 50.0], "caution": 0.0}


def trained(store, tasks, options=FIXED_OPTIONS["cign_analytic"], *, name="cign_analytic", **how):
    learner = Learner(name, options=options, regime="end-to-end", backbone="small-random")
    return learner.learn(store, tasks=tasks, **how)


@pytest.fixture(scope="module")
def adapted(old_store, tmp_path_factory):
    """Runs on the first three classes as a single task."""
    folder = tmp_path_factory.mktemp("adapted")
    for name in FIXED_OPTIONS:
        trained(old_store, 1, FIXED_OPTIONS[name], name=name, out=folder / name)
    return folder


@pytest.fixture
def model(adapted, tmp_path):
    return shutil.copytree(adapted / "cign_analytic" / "model", tmp_path / "model")


def encoded(method, store, indices):
    """Tokens of clips by the encoders of a method."""
    audio, visual = store.audio(indices), store.frames(indices)
    with torch.inference_mode():
        return method.tokens(torch.from_numpy(audio), torch.from_numpy(visual))


class SelectingLater(CignAnalytic):
    """On frozen tokens, without a selection in the first task."""

    def select(self, data):
        if data.num_old:
            super().select(data)


def frozen_loop(learner, store):
    """Learns the tokens of a store by the encoders of a learner, in the same tasks."""
    method, labels = learner.model.method, [clip.labels for clip in store.table.clips]
    tokens = encoded(method, store, np.arange(store.num_clips))
    audio, visual = (part.numpy() for part in tokens)
    return Loop(
        method=SelectingLater(replace(method.setup, backbone=None), method.options),
        clips=TaskClips.of(labels, TaskSequence(learner.model.groups)),
        source=ArraySource(lambda i: audio[i], lambda i: visual[i], 0),
        train=store.indices("train"),
        test=np.zeros(0, dtype=np.int64),
        memory=ExemplarMemory(MemoryBudget.parse("0")),
        predictions=Predictions(
            clip_ids=[],
            labels=[],
            class_names=learner.classes,
            task_sizes=tuple(map(len, learner.model.groups)),
        ),
    )


@pytest.mark.parametrize("name", list(FIXED_OPTIONS))
def test_adding_gives_what_a_second_task_gives(name, cign, adapted, tables, tiny, rows, tmp_path):
    model = shutil.copytree(adapted / name / "model", tmp_path / "model")
    code, out, err = add(cign, model, tables[1], tiny)
    assert code == 0, err
    assert f"new classes: {rows[1][-1]} (6 clips)" in out
    assert "old classes, 6 clips for validation: accuracy " in out
    assert "added clips, 2 held out: accuracy " in out
    assert "leave-one-out accuracy at arrival, over 4 classes: " in out
    groups = (tuple(rows[1][:3]), tuple(rows[1][3:]))
    at_once = trained(tiny[1], TaskSequence(groups), FIXED_OPTIONS[name], name=name)
    found = load_file(folder_in_use(model) / "model.safetensors")
    wanted = packed(at_once.model.method.state_dict())
    heads = {key for key in wanted if key.startswith("adaptation.heads.")}
    assert found.keys() == wanted.keys() - heads
    for key, value in found.items():
        if key.startswith("adaptation."):
            assert torch.equal(value, wanted[key]), key
        else:
            np.testing.assert_allclose(value, wanted[key], rtol=1e-2, atol=1e-3, err_msg=key)
    again = Learner.load(model)
    assert again.classes == at_once.classes
    modalities = again.evaluate(tiny[1])["modalities"]
    for modality, numbers in at_once.metrics["modalities"].items():
        assert modalities[modality]["last"] == numbers["last"]


@pytest.mark.parametrize("name", list(POOLED))
def test_methods_on_pooled_tokens_add_as_in_a_second_task(
    name, cign, old_store, tables, tiny, rows, tmp_path
):
    trained(old_store, 1, POOLED[name], name=name, out=tmp_path / "run")
    model = tmp_path / "run" / "model"
    model = shutil.copytree(model, tmp_path / "model")
    code, out, err = add(cign, model, tables[1], tiny)
    assert code == 0, err
    assert f"new classes: {rows[1][-1]} (6 clips)" in out
    groups = (tuple(rows[1][:3]), tuple(rows[1][3:]))
    at_once = trained(tiny[1], TaskSequence(groups), POOLED[name], name=name)
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    parts = [learner.predict(files, top=4) for learner in (Learner.load(model), at_once)]
    for found, wanted in zip(*parts, strict=True):
        for modality, expected in wanted.modalities.items():
            ours = {one["label"]: one["probability"] for one in found.modalities[modality]}
            for one in expected:
                assert ours[one["label"]] == pytest.approx(one["probability"], abs=5e-3)


def test_media_and_stored_tokens_give_the_same_predictions(model, tables, tiny, old_store):
    learner = Learner.load(model)
    store = Store.open(old_store)
    validation = store.indices("val")

    def check(learner):
        method, kept = learner.model.method, learner.model.kept
        assert learner.model.unknown.num_clips == kept.num_clips
        for ours, theirs in zip(
            encoded(method, store, validation), (kept.audio[:6], kept.visual[:6]), strict=True
        ):
            assert ours.dtype == theirs.dtype == torch.float16
            torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=2e-3)
        files = [str(store.table.clips[i].path) for i in validation]
        with torch.inference_mode():
            evidence = learner.model.evidence_reader.read(kept.audio[:6], kept.visual[:6])
        unknown = learner.model.unknown.values(evidence, "audio_visual")
        probabilities = evidence.probabilities["audio_visual"].max(dim=1).values
        for row, one in enumerate(learner.predict(files)):
            assert one.unknown == pytest.approx(unknown[row], abs=2e-3)
            best = one.modalities["audio_visual"][0]["probability"]
            assert best == pytest.approx(float(probabilities[row]), abs=2e-3)
            assert one.unknown_threshold == pytest.approx(learner.model.unknown_threshold, abs=1e-6)

    before = learner.model.unknown.thresholds
    check(learner)
    learner.add(tables[1], media=[tiny[0]], num_workers=0)
    assert learner.model.kept.num_clips == 8
    assert learner.model.unknown.thresholds != before
    check(learner)


def test_changes_one_after_another_and_back(cign, model, tables, tiny, rows, tmp_path):
    first = state_of(model)
    added, known = rows[1][-1], rows[1][0]
    more = [row for row in rows[0] if row["labels"] == known and row["split"] == "train"][:2]
    table = write(tmp_path / "more.csv", more)
    # More clips of a known class first: the encoders must not be trained again.
    code, out, err = add(cign, model, table, tiny)
    assert code == 0, err
    assert f"more clips, merged: {known} (2 clips)" in out
    assert add(cign, model, tables[1], tiny)[0] == 0
    assert cign("remove", model, known)[0] == 0
    assert cign("rename", model, added, "new name")[0] == 0
    learner = Learner.load(model)
    assert learner.classes == (*rows[1][1:3], "new name")
    assert learner.model.groups == (tuple(rows[1][1:3]), ("new name",))
    assert {name for names in learner.model.kept.labels for name in names} == set(learner.classes)
    for path in (folder_in_use(model), model / "versions" / "1"):
        tensors = load_file(path / "model.safetensors")
        assert not any(name.startswith("adaptation.heads.") for name in tensors)
        parts = {name: x for name, x in tensors.items() if name.startswith("adaptation.")}
        assert parts.keys() == {n for n in learner.model.method.state_dict() if n in parts}
        assert all(torch.equal(learner.model.method.state_dict()[n], x) for n, x in parts.items())
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    code, out, err = cign("predict", model, files[0], "--json")
    assert code == 0, err
    (one,) = json.loads(out)
    assert one["label"] in learner.classes
    code, out, err = cign("evaluate", model, tiny[1])
    assert code == 0, err
    # All classes of the first task may go; the model still loads and learns.
    for name in rows[1][1:3]:
        assert cign("remove", model, name)[0] == 0
    assert Learner.load(model).classes == ("new name",)
    code, _, err = add(cign, model, table, tiny)
    assert code == 0, err
    assert Learner.load(model).classes == ("new name", known)
    while read_about(model)["changes"]:
        assert cign("versions", model, "--undo")[0] == 0
    assert {name.name: data for name, data in state_of(folder_in_use(model)).items()} == {
        name.name: data for name, data in first.items()
    }


def test_a_prepared_store_is_added_by_its_media(cign, model, tiny, rows, tmp_path):
    """Its cached tokens are of other weights and do not matter."""
    code, out, err = cign("add", model, tiny[1])
    assert code == 0, err
    assert f"new classes: {rows[1][-1]} (6 clips)" in out
    assert "count twice" in cign("add", model, tiny[1])[2]
    other = tmp_path / "store"
    spec = replace(load_backbone("small-random").spec, num_frames=2)
    prepare(tiny[0], other, spec=spec, num_workers=0)
    before = state_of(model)
    refused(cign("add", model, other), "small-random needs", "prepare a store with --backbone")
    np.savez(tmp_path / "features.npz", audio=np.eye(4), visual=np.eye(4), labels=["a"] * 4)
    refused(cign("add", model, tmp_path / "features.npz"), "holds features, but the model takes")
    (tmp_path / "bad" / "noise").mkdir(parents=True)
    (tmp_path / "bad" / "noise" / "one.mp4").write_text("not a film")
    refused(cign("add", model, tmp_path / "bad", "--workers", 0), "no usable clip")
    assert state_of(model) == before


def test_a_stored_validation_clip_is_recognised(model, rows, tiny, tmp_path):
    some = [row for row in rows[0] if row["labels"] == rows[1][0] and row["split"] == "val"]
    some += [row for row in rows[0] if row["labels"] == rows[1][0] and row["split"] == "train"][:1]
    source = write(tmp_path / "again.csv", [{**row, "split": "train"} for row in some])
    addition = Learner.load(model).add(source, media=[tiny[0]], num_workers=0)
    assert addition.known == {rows[1][0]: 1}
    assert "left out, already among the model's validation clips: 2 clips" in addition.notes


def test_encoders_trained_in_every_task_are_refused(cign, old_store, tables, tiny, tmp_path):
    options = {"training": {"num_epochs": 1, "min_steps": 0, "batch_size": 8}}
    trained(old_store, 1, options, name="finetune").save(tmp_path / "model")
    refused(
        add(cign, tmp_path / "model", tables[1], tiny),
        "finetune cannot be changed without its old clips",
    )


def test_the_page_teaches_and_undoes(model, tables, tiny, rows, tmp_path):
    new = [row for row in rows[0] if row["labels"] == rows[1][-1] and row["split"] == "train"][:3]
    for row in new:
        shutil.copy(tiny[0] / row["path"], tmp_path / row["path"].replace("/", "-"))
    flat = [{**row, "path": row["path"].replace("/", "-")} for row in new]
    table = write(tmp_path / "taught.csv", flat)
    service = Service(model, teach=True)
    clip = next(iter(sorted((tiny[0] / "test").rglob("*.mp4"))))
    before = service.answer(clip).prediction
    taught = service.teach(table)
    assert taught.version == 2
    assert service.model.classes == tuple(rows[1])
    assert service.answer(clip).prediction.label in rows[1]
    assert service.undo(seen=2) == 1
    assert service.answer(clip).prediction == before


def test_the_first_task_neither_selects_nor_estimates(tiny, tmp_path, cign, tables, old_store):
    learner = trained(old_store, 2, SELECTING, out=tmp_path / "run")
    first, second = learner.model.estimates
    assert (first.task, first.num_clips, first.percent) == (1, 0, {})
    assert first.reason == "because its clips trained the encoders"
    assert (second.task, second.num_clips, second.reason) == (2, 6, "")
    assert second.percent["audio_visual"] >= 0.0
    method = learner.model.method
    for modality in ("audio", "visual"):
        assert method.of(modality).evidence.item() == 1.0  # the only class of the second task
    # They are the losses on frozen tokens, if the clips of the first task select nothing there.
    frozen = frozen_loop(learner, Store.open(old_store))
    frozen.run()
    for modality in ("audio", "visual"):
        ours, theirs = method.of(modality), frozen.method.of(modality)
        torch.testing.assert_close(ours.losses, theirs.losses, rtol=1e-2, atol=1e-3)
        assert ours.setting == theirs.setting
    code, _, err = add(cign, tmp_path / "run", tables[1], tiny, "--out", tmp_path / "more")
    assert code == 0, err
    assert Learner.load(tmp_path / "more").model.method.audio.evidence.item() == 2.0
    lines = read_about(tmp_path / "more")["leave_one_out"]
    assert [bool(one["reason"]) for one in lines] == [True, False, False]
    refused(cign("evaluate", tmp_path / "run", old_store, "--loo"), "encoders", "on its clips")
