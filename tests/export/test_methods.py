"""Every method and every unknown score through ONNX and torch.export."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from cign.export.exporting import export_model
from cign.export.formats import runner
from cign.export.predictor import OUTPUTS, example, in_float32, predictor_of
from cign.learner import Learner
from cign.methods import METHODS
from cign.open_set.rule import SCORES

from .toys import ToyBackbone, toy_model


def as_read(model, waveform, frames):
    """Probabilities and unknown scores by the method itself, the reference of all files."""
    backbone = ToyBackbone()
    with torch.no_grad():
        tokens = backbone.audio_tokens(waveform).half(), backbone.visual_tokens(frames).half()
        evidence = model.evidence_reader.read(*tokens)
        probabilities = model.method.predict(*tokens).probabilities
    names = ("audio", "visual", "audio_visual")
    unknown = [model.unknown.values(evidence, name) for name in names]
    return [*(probabilities[name].numpy() for name in names), *unknown]


def check_file(model, exported, kind):
    """A file gives, for clips that the export did not see, what the method gives."""
    assert exported.checks[kind].num_clips == 50
    assert exported.checks[kind].difference <= 1e-4
    waveform, frames = example(model.spec, num_clips=5)
    found = runner(kind, exported.folder)(waveform.numpy(), frames.numpy())
    for name, wanted in zip(OUTPUTS, as_read(model, waveform, frames), strict=True):
        assert found[name].shape == wanted.shape
        np.testing.assert_allclose(found[name], wanted, atol=1e-4, rtol=0, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_file_says_what_the_model_says(name, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    pytest.importorskip("onnxscript", reason="needs the extra export")
    model = toy_model(name)
    before = {key: value.clone() for key, value in model.method.state_dict().items()}
    exported = export_model(model, ToyBackbone(), tmp_path / "out", format="both")
    for kind in ("onnx", "torch"):
        check_file(model, exported, kind)
    # The model that was given is as it was.
    for key, value in model.method.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_closed_form_in_onnx(toy_export):
    model, exported = toy_export
    assert model.unknown.score == "combined"
    check_file(model, exported, "onnx")
    about = json.loads((exported.folder / "predictor.json").read_text())
    assert about["unknown"]["score"] == "combined"
    assert about["unknown"]["thresholds"] == model.unknown.thresholds
    assert set(about["outputs"]) == set(OUTPUTS)


def test_il2m_with_torch(tmp_path):
    model = toy_model("il2m")
    assert model.unknown.score == "max_probability"
    exported = export_model(model, ToyBackbone(), tmp_path / "out", format="torch")
    check_file(model, exported, "torch")


@pytest.mark.parametrize("score", SCORES)
def test_the_network_of_every_unknown_score(score):
    model = toy_model("cign_analytic", score)
    network = predictor_of(in_float32(model), ToyBackbone())
    waveform, frames = example(model.spec, num_clips=5)
    with torch.no_grad():
        found = network(waveform, frames)
    for one, wanted in zip(found, as_read(model, waveform, frames), strict=True):
        np.testing.assert_allclose(one.numpy(), wanted, atol=1e-5, rtol=0)
    # Without what only learning needs: the sums.
    assert all(sums.whole_gram.numel() == 0 for sums in network.method.audio.statistics)


@pytest.mark.slow
def test_the_file_of_a_closed_form_with_the_score_of_others(tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    model = toy_model("cign_analytic", "max_probability")
    exported = export_model(model, ToyBackbone(), tmp_path / "out", format="onnx")
    check_file(model, exported, "onnx")


def test_a_model_in_bfloat16_is_exported_in_float32_and_says_how_far_it_is(tmp_path):
    learner = Learner("joint")
    learner.model = toy_model("joint")
    method = learner.model.method
    method.setup = dataclasses.replace(method.setup, bf16=True)
    method.network.encoder.bf16 = True
    learner._backbone = ToyBackbone()
    exported = learner.export(tmp_path / "out", format="torch")
    assert exported.checks["torch"].difference <= 1e-6
    assert 1e-6 < exported.bf16_difference < 0.1
