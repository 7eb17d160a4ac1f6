"""Networks of trained encoders are drafted without memory, and refused where weights do not fit."""

import json
import resource

import pytest
import torch

from cign.backbones.fitting import record_of
from cign.backbones.registry import load_backbone
from cign.errors import InputError
from cign.methods.base import Setup
from cign.methods.finetune import Finetune, HeadsOptions
from cign.runs.training_data import token_shape
from cign.saved_model.files import ABOUT
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.model import Model
from networks import PICTURES, SOUNDS, make_network


def recorded_networks(folder, visual, audio):
    """A pair of networks, and what a description says of it."""
    name = f"{make_network(folder, visual)}+{make_network(folder, audio)}"
    backbone = load_backbone(name)
    return name, backbone, json.loads(json.dumps(record_of(backbone)))


PAIRS = [(visual, "ast") for visual in PICTURES] + [("vit", audio) for audio in SOUNDS[1:]]


@pytest.mark.parametrize(("visual", "audio"), PAIRS)
def test_every_network_is_drafted_without_memory(visual, audio, tmp_path):
    name, backbone, record = recorded_networks(tmp_path, visual, audio)
    for _ in range(2):  # a draft leaves nothing behind that another one, or a network, is made of
        with torch.device("meta"):
            draft = load_backbone(name, weights=False, record=record)
        assert {weight.device.type for weight in draft.state_dict().values()} == {"meta"}
        built = load_backbone(name, weights=False, record=record)
        wanted = {key: weight.shape for key, weight in backbone.state_dict().items()}
        for one in (draft, built):
            assert {key: weight.shape for key, weight in one.state_dict().items()} == wanted
        assert {part.device.type for part in (*built.buffers(), *built.parameters())} == {"cpu"}


@pytest.mark.parametrize(
    ("half", "entry", "sentence"),
    [
        ("visual", {"hidden_size": 10**7}, "hidden_size 1e[+]07, but its weights have"),
        ("visual", {"num_hidden_layers": 10**6}, "num_hidden_layers 1e[+]06, but its weights have"),
        ("visual", {"hidden_size": 10**5}, "has shape|lacks weight|cannot be built"),
        ("audio", {"num_mel_bins": 10**6}, "not a valid filter bank|has shape|cannot be built"),
    ],
)
def test_trained_networks_that_the_weights_are_not_of(half, entry, sentence, tmp_path):
    name, backbone, _ = recorded_networks(tmp_path, "vit", "ast")
    shape = token_shape(backbone)
    method = Finetune(Setup(shape=shape, backbone=backbone), HeadsOptions())
    method.grow(2)
    model = Model(
        method=method.eval(),
        groups=(("a", "b"),),
        regime="end-to-end",
        backbone=name,
        fingerprint="",
        spec=backbone.spec,
    )
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").classes == ("a", "b")
    path = tmp_path / "model" / ABOUT
    about = json.loads(path.read_text())
    config = about["backbone"]["record"][half]["config"]
    assert config.keys() >= entry.keys()
    config.update(entry)
    path.write_text(json.dumps(about))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=sentence):
        load_model(tmp_path / "model")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
