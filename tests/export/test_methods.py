"""Every method through ONNX and torch.export on a backbone of a few operators."""

import dataclasses

import pytest
import torch
from torch import nn

from cign.data.media import MediaSpec
from cign.errors import CignError
from cign.export.exporting import export_model
from cign.learner import Learner
from cign.methods import METHODS
from cign.model_folder import Model
from cign.models.backbone import Backbone
from test_resume import OPTIONS
from toy import SHAPE, toy_loop

pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")

QUICK = ("icarl", "l2p")
ONLY_TORCH = ("dualprompt", "il2m")


class ToyBackbone(Backbone):
    """Three tokens of sound and four of pictures, by a linear map each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.name = "toy"
        self.spec = MediaSpec(frame_px=16, rate_hz=16000, window_s=0.03)
        self.heard, self.seen = nn.Linear(160, 16), nn.Linear(192, 16)
        self.eval().requires_grad_(False)

    def audio_tokens(self, audio):
        scale = 1.0 if audio.is_floating_point() else 1 / 32768
        return self.heard(audio.float().unflatten(1, (-1, 160)) * scale)

    def visual_tokens(self, frames):
        x = frames.flatten(1, 2).unflatten(1, (-1, 8)).unflatten(3, (-1, 8))
        return self.seen(x.transpose(2, 3).flatten(3).flatten(1, 2).float() / 255.0)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)
def test_the_file_says_what_the_model_says(name, tmp_path):
    torch.set_num_threads(1)
    loop = toy_loop(name, options=OPTIONS[name], memory="12")
    loop.run()
    backbone = ToyBackbone()
    assert SHAPE.num_audio_tokens * 160 == backbone.spec.num_samples
    model = Model(
        method=loop.method.eval(),
        groups=loop.clips.tasks.groups,
        regime="frozen",
        backbone="toy",
        fingerprint="",
        spec=backbone.spec,
    )
    before = {key: value.clone() for key, value in loop.method.state_dict().items()}
    if name in ONLY_TORCH:
        with pytest.raises(CignError, match="use --format torch"):
            export_model(model, backbone, tmp_path / "onnx", format="onnx")
    wanted = "torch" if name in ONLY_TORCH else "both"
    exported = export_model(model, backbone, tmp_path / "out", format=wanted)
    assert set(exported.checks) == ({"torch"} if name in ONLY_TORCH else {"onnx", "torch"})
    for check in exported.checks.values():
        assert check.num_clips == 50
        assert check.difference <= 1e-4
    # The model that was given is as it was.
    for key, value in loop.method.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_model_in_bfloat16_is_exported_in_float32_and_says_how_far_it_is(tmp_path):
    torch.set_num_threads(1)
    loop = toy_loop("finetune", options={**OPTIONS["finetune"], "trunk": "transformer", "depth": 1})
    loop.run()
    method = loop.method
    method.setup = dataclasses.replace(method.setup, bf16=True)
    method.network.encoder.bf16 = True
    learner = Learner("finetune")
    backbone = ToyBackbone()
    learner.model = Model(
        method=method.eval(),
        groups=loop.clips.tasks.groups,
        regime="frozen",
        backbone="toy",
        fingerprint="",
        spec=backbone.spec,
    )
    learner._backbone = backbone
    exported = learner.export(tmp_path / "out", format="torch")
    assert exported.checks["torch"].difference <= 1e-6
    assert 1e-6 < exported.bf16_difference < 0.1
