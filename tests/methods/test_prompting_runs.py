"""l2p and dualprompt on stores and files: which tokens they take, and what is refused."""

import dataclasses
import shutil

import numpy as np
import pytest

from cign.learner import Learner
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES
from refusals import input_error
from toy import toy_method

NAMES = ("l2p", "dualprompt")
TRAINING = {"num_epochs": 10, "batch_size": 8, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def stem_store(tiny, tmp_path_factory):
    """A store with stem tokens beside finished ones."""
    from cign.backbones.registry import load_backbone
    from cign.data.prepare.token_making import make_tokens
    from cign.data.store import Store

    folder = tmp_path_factory.mktemp("stem") / "store"
    shutil.copytree(tiny[1], folder)
    make_tokens(Store.open(folder), load_backbone("small-random-stem"))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_run_model_and_files_agree(name, tiny, stem_store, tmp_path):
    options = {"training": {"num_epochs": 2, "batch_size": 8}}
    learner = Learner(name, options=options, memory="8").learn(
        stem_store, tasks=2, out=tmp_path / "run"
    )
    assert learner.config.data.backbone == "small-random-stem"  # the only fitting tokens of the two
    assert learner.metrics["costs"]["bytes_kept"] == 0
    files = sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))
    again = Learner.load(tmp_path / "run")
    ours, theirs = (list(one.predict(files, top=4)) for one in (learner, again))
    assert ours == theirs
    scores = Predictions.load(tmp_path / "run" / "predictions.parquet")
    for prediction in ours:
        assert prediction.error is None
        row = next(i for i, clip in enumerate(scores.clip_ids) if prediction.file.endswith(clip))
        for modality in MODALITIES:
            told = {e["label"]: e["probability"] for e in prediction.modalities[modality]}
            values = [told[label] for label in learner.model.classes]
            np.testing.assert_allclose(values, scores.scores[-1][modality][row], atol=5e-3)
    evaluated = again.evaluate(stem_store)["modalities"]["audio_visual"]["last"]
    assert evaluated == learner.metrics["modalities"]["audio_visual"]["last"]


def test_finished_tokens_are_refused_before_anything_is_learned(tiny, tmp_path):
    with input_error("unsupported", "l2p", "'small-random'"):
        Learner("l2p").learn(tiny[1], tasks=2)


def test_other_methods_take_the_finished_tokens_of_the_same_store(stem_store):
    learner = Learner("finetune", options={"training": {"num_epochs": 1}})
    assert learner.learn(stem_store, tasks=2).config.data.backbone == "small-random"


def test_a_model_of_several_frames_finds_its_backbone():
    from cign.backbones.registry import load_backbone
    from cign.saved_model.model import Model

    backbone = load_backbone("small-random-stem")
    backbone.spec = dataclasses.replace(backbone.spec, num_frames=2)
    model = Model(
        method=toy_method("l2p"),
        groups=(),
        regime="frozen",
        backbone=backbone.name,
        fingerprint=backbone.fingerprint,
        spec=backbone.spec,
    )
    assert model.load_backbone().num_visual_tokens == 2 * 36


def test_end_to_end_is_refused():
    with input_error("unsupported", "l2p", "end-to-end"):
        Learner("l2p", regime="end-to-end")


def test_stem_tokens_of_other_weights_are_refused(stem_store, tmp_path):
    from cign.utils.files import read_json, write_json

    store = tmp_path / "store"
    shutil.copytree(stem_store, store)
    path = store / "tokens" / "small-random-stem" / "tokens.json"
    write_json(path, {**read_json(path, "tokens"), "fingerprint": "0" * 64})
    with input_error("weights-mismatch", "'small-random-stem'"):
        Learner("dualprompt").learn(store, tasks=2)
