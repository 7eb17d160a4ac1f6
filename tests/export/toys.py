"""A backbone of a few operators, and models of every method on its tokens."""

import torch
from torch import nn

from cign.backbones.base import Backbone
from cign.data.media.decode import MediaSpec
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import default_score, read_evidence, rule_on
from cign.saved_model.model import Model
from test_resume import OPTIONS
from toy import SHAPE, toy_loop


class ToyBackbone(Backbone):
    """Three tokens of audio and four of images, by a linear map each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.name = "toy"
        self.spec = MediaSpec(frame_px=16, rate_hz=16000, window_s=0.03)
        assert SHAPE.num_audio_tokens * 160 == self.spec.num_samples
        self.heard, self.seen = nn.Linear(160, 16), nn.Linear(192, 16)
        self.eval().requires_grad_(False)

    def audio_tokens(self, audio):
        scale = 1.0 if audio.is_floating_point() else 1 / 32768
        return self.heard(audio.float().unflatten(1, (-1, 160)) * scale)

    def visual_tokens(self, frames):
        x = frames.flatten(1, 2).unflatten(1, (-1, 8)).unflatten(3, (-1, 8))
        return self.seen(x.transpose(2, 3).flatten(3).flatten(1, 2).float() / 255.0)


def toy_model(name, score=None, **kwargs):
    """A model of a method, with its rule for unknown clips."""
    torch.set_num_threads(1)
    loop = toy_loop(name, options=OPTIONS[name], memory="12", **kwargs)
    loop.run()
    method = loop.method.eval()
    reader = EvidenceReader(method)
    rule = rule_on(
        read_evidence(reader, loop.source, loop.test),
        score or default_score(reader),
        multi_label=False,
    )
    return Model(
        method=method,
        groups=loop.clips.tasks.groups,
        regime="frozen",
        backbone="toy",
        fingerprint="",
        spec=ToyBackbone().spec,
        unknown=rule,
    )
