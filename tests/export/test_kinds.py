"""Models with several labels, of trained encoders, with added classes; files to check on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.data.batches import ArraySource
from cign.data.clips import Clip
from cign.export.checking import compare, rendered_clips, scores_of
from cign.export.exporting import export_model
from cign.export.predictor import OUTPUTS, in_float32, predictor_of
from cign.learner import Learner
from cign.methods import method_class
from cign.methods.base import Batch, Setup
from cign.methods.phases import Phase, TrainingOptions
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule, rule_on
from cign.runs.training_data import token_shape
from cign.saved_model.model import Model
from cign.updating.edits import add_clips
from cign.updating.new_clips import NewClips
from cign.utils.options import configure
from cign.utils.progress import Silent
from summed import hashes_of
from toy import toy_method, toy_tokens

from .toys import ToyBackbone, toy_model


def several_labels(name):
    """A model of clips that carry two labels each."""
    torch.set_num_threads(1)
    labels, *tokens = toy_tokens()
    audio, visual = map(torch.from_numpy, tokens)
    targets = np.eye(6, dtype=bool)[labels]
    targets |= np.roll(targets, 1, axis=1)
    method = toy_method(name, {"width": 30}, multi_label=True)
    method.grow(6)
    indices = np.arange(len(labels))
    batch = Batch(
        audio=audio,
        visual=visual,
        targets=torch.from_numpy(targets),
        from_memory=torch.zeros(len(labels), dtype=torch.bool),
        indices=indices,
    )
    method.learn(batch, Phase(name="s", indices=indices, options=TrainingOptions(), updates=False))
    method.solve()
    reader = EvidenceReader(method.eval())
    rule = rule_on([reader.read(audio, visual)], "combined", multi_label=True)
    return dataclasses.replace(toy_model("cign_analytic"), method=method, unknown=rule)


def own_encoders(name, score="max_probability"):
    """A model that holds its encoders, as `Learner` builds it end to end; nothing is learned."""
    torch.set_num_threads(1)
    backbone = load_backbone("small-random")
    cls = method_class(name)
    options = {"width": 20} if name == "cign_analytic" else {}
    torch.manual_seed(0)
    method = cls(
        Setup(shape=token_shape(backbone), backbone=backbone),
        configure(cls.Options, options, "options"),
    )
    method.grow(3)
    moments = dict.fromkeys(("max_logit", "margin", "leverage"), (-1.0, 1.0))
    modalities = ("audio", "visual", "audio_visual")
    return Model(
        method=method.eval().requires_grad_(False),
        groups=(("a", "b", "c"),),
        regime="end-to-end",
        backbone="small-random",
        fingerprint="",
        spec=backbone.spec,
        unknown=UnknownRule(
            score=score, moments=dict.fromkeys(modalities, moments) if score == "combined" else {}
        ),
    )


def check_network(model, backbone, num_clips):
    """The network that is traced says what the predictor says."""
    clips = rendered_clips(model.spec, num_clips)
    network = predictor_of(in_float32(model), backbone)

    def run(waveform, frames):
        with torch.no_grad():
            values = network(torch.from_numpy(waveform), torch.from_numpy(frames))
        return {name: part.numpy() for name, part in zip(OUTPUTS, values, strict=True)}

    found = compare(run, clips, scores_of(model, backbone, clips), Silent(), "the network")
    assert found.num_clips == num_clips


@pytest.mark.parametrize("name", ["analytic", "cign_analytic"])
def test_the_network_of_a_model_with_several_labels(name):
    check_network(several_labels(name), ToyBackbone(), 12)


@pytest.mark.parametrize(
    ("name", "score"), [("finetune", "max_probability"), ("cign_analytic", "combined")]
)
def test_the_network_of_a_model_that_holds_its_encoders(name, score):
    check_network(own_encoders(name, score), None, 4)


def test_the_network_of_a_model_that_holds_its_encoders_and_learned_more():
    model = own_encoders("cign_analytic", "combined")
    draw, shape = np.random.default_rng(0), model.method.setup.shape
    audio, visual = (
        draw.normal(size=(6, number, dim)).astype(np.float16)
        for number, dim in (
            (shape.num_audio_tokens, shape.audio_dim),
            (shape.num_visual_tokens, shape.visual_dim),
        )
    )
    none = np.zeros(0, dtype=np.int64)
    clips = NewClips(
        clips=[
            Clip(id=str(row), path=Path(str(row)), labels=(name,), split="train")
            for row, name in enumerate("dddaaa")
        ],
        hashes=hashes_of(range(6)),
        list_hash="0",
        order=("d", "a"),
        source=ArraySource(lambda i: audio[i], lambda i: visual[i], 0),
        learned=np.arange(6),
        validation=none,
        kept=none,
        notes=(),
    )
    changed, addition = add_clips(model, clips)
    assert (addition.new, addition.known) == ({"d": 3}, {"a": 3})
    check_network(changed, None, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["analytic", "cign_analytic"])
def test_files_of_a_model_with_several_labels(name, tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    export_model(several_labels(name), ToyBackbone(), tmp_path / "out", format="both")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finetune", "cign_analytic"])
def test_a_run_end_to_end(name, tiny, tmp_path, cign):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    training = {"num_epochs": 1, "batch_size": 8}
    options = {"training": {**training, "min_steps": 0}}
    if name == "cign_analytic":
        options = {"width": 40, "adaptation": training}
    learner = Learner(name, options=options, regime="end-to-end", backbone="small-random")
    learner.learn(tiny[1], tasks=2, out=tmp_path / "run")
    if name == "cign_analytic":  # the method that can learn more
        learner.add(tiny[1])
    learner.save(tmp_path / "model")
    code, out, err = cign("export", tmp_path / "model", tmp_path / "out", "--format", "both")
    assert code == 0, err
    assert "predictor.onnx" in out
    assert "predictor.pt2" in out


@pytest.mark.slow
def test_a_model_with_added_classes_checked_on_files(tiny, tmp_path, cign):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    classes = sorted((tiny[0] / "train").iterdir())
    for place, some in (("first", classes[:3]), ("more", classes[3:])):
        (tmp_path / place).mkdir()
        for folder in some:
            (tmp_path / place / folder.name).symlink_to(folder)
    done = cign("prepare", tmp_path / "first", tmp_path / "store", "--backbone", "small")
    assert done[0] == 0, done[2]
    Learner("cign_analytic", options={"width": 300}).learn(
        tmp_path / "store", tasks=1, out=tmp_path / "run"
    )
    model = tmp_path / "model"
    done = cign("add", tmp_path / "run", tmp_path / "more", "--out", model, "--workers", "0")
    assert done[0] == 0, done[2]
    files = sorted((tiny[0] / "test").rglob("*.mp4"))[:5]
    code, out, err = cign("export", model, tmp_path / "out", "--clips", *files)
    assert code == 0, err
    assert "on 5 clips its probabilities and unknown scores" in out
