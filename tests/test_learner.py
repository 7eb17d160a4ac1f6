"""The public face, from a store to predictions on files, and what it refuses."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.errors import InputError
from cign.learner import Learner
from cign.methods.base import Batch
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES
from refusals import input_error

QUICK = {"training": {"num_epochs": 2, "min_steps": 0, "batch_size": 8}}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "cign"
    learner = Learner("cign", options={**QUICK, "depth": 1}, memory="4")
    return learner.learn(tiny[1], tasks=2, out=out), out


def test_a_run_folder_holds_what_the_contract_names(run):
    learner, out = run
    for name in ("config.yaml", "metrics.json", "predictions.parquet", "checkpoint.safetensors"):
        assert (out / name).is_file(), name
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert metrics["modalities"] == learner.metrics["modalities"]
    assert set(metrics["modalities"]) == set(MODALITIES)
    assert metrics["seeds"] == {"order": 0, "run": 0}
    assert metrics["limit"] == 98.0
    assert (
        metrics["costs"]["bytes_kept"]
        == 4 * 2 * (36 + learner.model.method.setup.shape.num_audio_tokens) * 192
    )


def test_every_test_clip_is_scored_after_every_task_on_the_classes_seen(run, tiny):
    predictions = Predictions.load(run[1] / "predictions.parquet")
    assert predictions.num_tasks_done == 2
    assert predictions.scores[0]["audio"].shape == (12, 2)
    assert predictions.scores[1]["audio"].shape == (12, 4)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"top": 0}, ("top is 0",)),
        ({"top": -1}, ("top is -1",)),
        ({"every_s": 0.0}, ("every_s is 0.0",)),
        ({"every_s": -1.0}, ("every_s is -1.0",)),
        ({"every_s": float("nan")}, ("every_s is nan",)),
        ({"every_s": float("inf")}, ("every_s is inf",)),
        ({"unknown_threshold": 1.5}, ("unknown_threshold is 1.5",)),
    ],
)
def test_options_of_predictions_are_checked(run, options, names):
    learner, _ = run
    wave = np.zeros(44100, np.float32)
    with input_error("bad-value", *names):
        learner.predict(audio=wave, rate_hz=44100, **options)
    if "top" in options:
        with input_error("bad-value", *names):
            next(learner.predict_live("nowhere", **options))
    if options.get("every_s", 1.0) <= 0:
        with input_error("bad-value", *names):
            next(learner.segments("nowhere.wav", **options))


def test_loaded_model_says_the_same_as_the_learner_and_the_run(run, tiny):
    learner, out = run
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    ours = list(learner.predict(files, top=4))
    theirs = list(Learner.load(out).predict(files, top=4))
    assert ours == theirs
    assert [p.file for p in ours] == files
    scores = Predictions.load(out / "predictions.parquet")
    for prediction in ours:
        row = next(i for i, name in enumerate(scores.clip_ids) if prediction.file.endswith(name))
        for modality in MODALITIES:
            told = {e["label"]: e["probability"] for e in prediction.modalities[modality]}
            wanted = scores.scores[-1][modality][row]
            values = [told[name] for name in learner.model.classes]
            np.testing.assert_allclose(values, wanted, atol=2e-3)


def test_saved_model_evaluates_to_the_runs_last_accuracy(run, tiny, tmp_path):
    learner, _ = run
    learner.save(tmp_path / "model")
    again = Learner.load(tmp_path / "model").evaluate(tiny[1])
    for modality in MODALITIES:
        assert (
            again["modalities"][modality]["last"] == learner.metrics["modalities"][modality]["last"]
        )


@pytest.mark.parametrize("lacks", ["audio", "visual"])
def test_clips_that_lack_a_modality_are_measured_as_they_are_predicted(lacks, tiny, tmp_path):
    store = Store.open(tiny[1])
    there = getattr(store, f"{lacks}_ok").copy()
    there[store.indices("test")] = False
    store = dataclasses.replace(store, **{f"{lacks}_ok": there})
    other = "visual" if lacks == "audio" else "audio"
    learner = Learner("cign_analytic", options={"width": 60})
    learner.learn(store, tasks=2, out=tmp_path / "run")
    modalities = learner.metrics["modalities"]
    assert modalities["audio_visual"] == modalities[other]
    assert (
        learner.evaluate(store)["modalities"]["audio_visual"]["last"] == modalities[other]["last"]
    )
    predictions = Predictions.load(tmp_path / "run" / "predictions.parquet")
    for scores in predictions.scores:
        assert np.array_equal(scores["audio_visual"], scores[other])


def test_a_run_without_a_folder_gives_the_same_numbers(run, tiny):
    torch.manual_seed(99)  # what went on before must not matter
    learner = Learner("cign", options={**QUICK, "depth": 1}, memory="4").learn(tiny[1], tasks=2)
    assert learner.metrics["modalities"] == run[0].metrics["modalities"]
    assert learner.metrics["losses"] == run[0].metrics["losses"]


def test_order_and_seed_are_separate(tiny):
    def losses(**kwargs):
        order = kwargs.pop("order", 0)
        learner = Learner("finetune", options=QUICK, **kwargs).learn(tiny[1], tasks=2, order=order)
        return learner.metrics["classes"], learner.metrics["losses"]

    base, seed, order = losses(), losses(seed=1), losses(order=3)
    assert base[0] == seed[0] != order[0]
    assert base[1] != seed[1]


@pytest.mark.parametrize("method", ["finetune", "joint", "cign"])
def test_end_to_end_training_moves_the_encoders_and_reloads(method, tiny, tmp_path):
    learner = Learner(
        method,
        options={"training": {**QUICK["training"], "num_epochs": 1}},
        regime="end-to-end",
        backbone="small-random",
    )
    learner.learn(tiny[1], tasks=2, out=tmp_path / "run")
    from cign.backbones.registry import load_backbone

    fresh = load_backbone("small-random").state_dict()
    trained = learner.model.method.network.encoder.backbone.state_dict()
    assert any(not torch.equal(fresh[name], value) for name, value in trained.items())
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:2]
    assert list(Learner.load(tmp_path / "run").predict(files)) == list(learner.predict(files))


@pytest.mark.parametrize("method", ["analytic", "cign_analytic"])
def test_a_closed_form_end_to_end_adapts_its_encoders_on_the_first_task_alone(
    method, tiny, tmp_path
):
    from cign.backbones.registry import load_backbone
    from cign.data.store import Store

    options = {"width": 40, "adaptation": {"num_epochs": 1, "batch_size": 4}}
    learner = Learner(method, options=options, regime="end-to-end", backbone="small-random")
    learner.learn(tiny[1], tasks=2, out=tmp_path / "run")
    phases = [(entry["task"], entry["phase"]) for entry in learner.metrics["losses"]]
    assert (0, "adaptation") in phases
    assert (1, "adaptation") not in phases
    learned = learner.model.method
    encoder = learned.adaptation.encoder.backbone
    fresh = load_backbone("small-random").state_dict()
    assert any(not torch.equal(fresh[name], value) for name, value in encoder.state_dict().items())
    # The sums are those of all training clips at once, read by the encoders as they are in the end.
    store = Store.open(tiny[1])
    train = store.indices("train")
    with torch.inference_mode():
        audio = encoder.audio_tokens(torch.from_numpy(store.audio(train))).half()
        visual = encoder.visual_tokens(torch.from_numpy(store.frames(train))).half()
    options = {"width": 40}
    at_once = type(learned)(
        dataclasses.replace(learned.setup, backbone=None), type(learned.options)(**options)
    )
    at_once.grow(len(store.class_names))
    names = learner.metrics["classes"]
    labels = torch.tensor([names.index(store.table.clips[i].labels[0]) for i in train])
    targets = torch.nn.functional.one_hot(labels, len(names)).bool()
    batch = Batch(
        audio=audio,
        visual=visual,
        targets=targets,
        from_memory=torch.zeros(len(train), dtype=torch.bool),
        indices=train,
    )
    at_once.absorb(batch)
    for name in ("audio", "visual"):
        pairs = zip(learned.of(name).statistics, at_once.of(name).statistics, strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours.whole_gram, theirs.whole_gram, rtol=1e-3, atol=1e-3)
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:2]
    again = Learner.load(tmp_path / "run")
    assert list(again.predict(files)) == list(learner.predict(files))


def test_resuming_a_finished_run_changes_nothing(run, tiny, tmp_path):
    shutil.copytree(run[1], tmp_path / "copy")
    learner = Learner("cign").learn(tiny[1], out=tmp_path / "copy", resume=True)
    assert learner.metrics["modalities"] == run[0].metrics["modalities"]


def test_a_folder_with_a_run_is_not_overwritten(run, tiny):
    with input_error("bad-output", "--resume"):
        Learner("cign", options=QUICK).learn(tiny[1], tasks=2, out=run[1])


def test_more_tasks_than_classes_writes_nothing(tiny, tmp_path):
    with input_error("bad-value", "5", "4"):
        Learner("finetune", options=QUICK).learn(tiny[1], tasks=5, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_option_writes_nothing(tiny, tmp_path):
    with input_error("unknown-name", "'depht'", "did you mean 'depth'"):
        Learner("cign", options={"depht": 1})


def test_memory_smaller_than_the_classes_is_refused_before_anything_is_learned(tiny, tmp_path):
    with input_error("bad-value", "4 classes"):
        Learner("finetune", options=QUICK, memory="3").learn(tiny[1], tasks=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_store_without_the_backbones_tokens_is_refused(tiny):
    with input_error("store-mismatch", "'resnet18'"):
        Learner("finetune", options=QUICK, backbone="resnet18").learn(tiny[1], tasks=2)


def test_end_to_end_with_a_backbone_of_another_preprocessing_is_refused(tiny):
    learner = Learner("finetune", options=QUICK, regime="end-to-end", backbone="resnet18-random")
    with input_error("store-mismatch", "--backbone", "resnet18-random"):
        learner.learn(tiny[1], tasks=2)


def test_changed_model_is_refused_by_its_checksum(run, tmp_path):
    shutil.copytree(run[1] / "model", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with input_error("damaged", "checksum of model.safetensors"):
        Learner.load(tmp_path / "model")


def test_model_of_a_newer_version_is_refused(run, tmp_path):
    shutil.copytree(run[1] / "model", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "format": 99}))
    with input_error("wrong-version", "99", "7"):
        Learner.load(tmp_path / "model")


def test_model_made_with_other_encoder_weights_is_refused(run, tiny, tmp_path):
    shutil.copytree(run[1] / "model", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    about = json.loads(path.read_text())
    about["backbone"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(about))
    learner = Learner.load(tmp_path / "model")
    with input_error("weights-mismatch", "small-random"):
        learner.predict(["a.mp4"])
    with pytest.raises(InputError, match="tokens from other weights"):
        learner.evaluate(tiny[1])


def test_a_learner_that_has_not_learned_says_so():
    with input_error("not-trained"):
        Learner("finetune").evaluate("nowhere")


def test_files_that_fail_are_told_and_do_not_stop_the_others(run, tiny, tmp_path):
    (tmp_path / "text.mp4").write_text("not a film")
    good = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[0]
    files = [str(tmp_path / "text.mp4"), good, str(tmp_path / "none.mp4")]
    first, second, third = run[0].predict(files)
    assert first.label is None
    assert first.error
    assert third.error
    assert second.label in run[0].model.classes
    assert second.error is None


def test_a_learner_that_learns_again_reads_files_with_the_encoders_of_what_it_learned(
    tiny, tmp_path
):
    """Tokens of both have the same shape, so that nothing else would tell them apart."""
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:4]
    other = tmp_path / "store"
    prepare(tiny[0], other, backbone=load_backbone("small"), num_workers=0)
    learner = Learner("analytic", options={"width": 50}).learn(tiny[1])
    list(learner.predict(files))
    learner.learn(other, out=tmp_path / "run")
    said = list(learner.predict(files))
    assert said == list(Learner.load(tmp_path / "run").predict(files))
