"""No step of training makes the host wait for the device (design: speed)."""

from dataclasses import replace

import pytest
import torch

from cign.backbones.registry import load_backbone
from cign.backbones.resnet import resnet_pair
from cign.data.media.decode import MediaSpec
from cign.methods import METHODS
from cign.methods.base import Batch, Setup
from cign.methods.cign import Cign, CignOptions
from cign.methods.phases import Phase, TrainingOptions, make_optimizer
from cign.networks.encoder import TokenShape
from cign.training.loop import Loop
from host_waits import HostWaits
from toy import quick_options, toy_loop

MEMORY = {name: "12" if cls.uses_memory else "0" for name, cls in METHODS.items()}
CASES = [(name, {}) for name in sorted(METHODS)]
CASES += [
    ("cign", {"assignment": "hard", "token_distillation": "transformed", "negatives": "new"}),
    ("cign", {"token_mixing": True, "old_tokens": "frozen"}),
    ("finetune", {"trunk": "transformer", "num_heads": 2}),
]


class Watched(Loop):
    """The loop with its steps of later tasks watched; keeps what the last step was made of."""

    def _step(self, batch, phase, share):
        if self.place.task == 0:
            return super()._step(batch, phase, share)
        with HostWaits() as waits:
            super()._step(batch, phase, share)
        self.watched = getattr(self, "watched", 0) + 1
        self.waits = getattr(self, "waits", 0) + sum(waits.counts.values())
        self.names = getattr(self, "names", set()) | set(waits.counts)
        self.last = (batch, phase)
        return None


def watched_loop(name, options):
    loop = toy_loop(name, options=quick_options(name, **options), memory=MEMORY[name], num_tasks=2)
    loop.__class__ = Watched
    return loop


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_step_waits_on_cached_tokens(name, options):
    loop = watched_loop(name, options)
    loop.run()
    assert loop.watched > 0
    assert loop.waits == 0, loop.names


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_can_be_made_without_any_value(name, options):
    """On the meta device whatever asks for a value of the device fails."""
    loop = watched_loop(name, options)
    loop.run()
    batch, phase = loop.last
    assert step_on_meta(loop.method, batch, phase)


def step_on_meta(method, batch, phase):
    method.to("meta").train()
    names = ("audio", "visual", "targets", "from_memory")
    batch = replace(batch, **{name: getattr(batch, name).to("meta") for name in names})
    losses = method.learn(batch, phase)
    if losses is not None:
        torch.stack(list(losses.values())).sum().backward()
    return True


def end_to_end(bf16):
    """`cign` with the release's pair, on pictures and sounds as small as it takes."""
    backbone = resnet_pair(None)
    backbone.spec = MediaSpec(frame_px=72, rate_hz=16000, window_s=0.2)
    backbone.input_px = 64
    shape = TokenShape(audio_dim=512, visual_dim=512, num_audio_tokens=9, num_visual_tokens=4)
    method = Cign(Setup(shape=shape, backbone=backbone, bf16=bf16), CignOptions(depth=1))
    method.grow(2)
    method.grow(1)
    batch = Batch(
        audio=torch.randint(-900, 900, (4, backbone.spec.num_samples), dtype=torch.int16),
        visual=torch.randint(0, 256, (4, 1, 72, 72, 3), dtype=torch.uint8),
        targets=torch.eye(3)[[0, 1, 2, 0]].bool(),
        from_memory=torch.tensor([True, True, False, True]),
        indices=torch.arange(4).numpy(),
    )
    phase = Phase(name="train", indices=batch.indices, options=TrainingOptions())
    return method, batch, phase


@pytest.mark.parametrize("bf16", [False, True])
def test_an_end_to_end_step_of_cign_waits_for_nothing_of_the_device(bf16):
    method, batch, phase = end_to_end(bf16)
    if not bf16:  # autocast has no meta device
        assert step_on_meta(*end_to_end(bf16))
    optimizer = make_optimizer(method.named_parameters(), TrainingOptions())
    method.train()
    with HostWaits() as waits:
        losses = method.learn(batch, phase)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    # Crops and flips are drawn and read on the host: two lists a batch, and no device in it.
    assert waits.counts == {"tolist": 2}


def test_small_encoders_are_trained_without_a_wait():
    backbone = load_backbone("small-random").train()
    audio = torch.zeros(2, backbone.spec.num_samples, dtype=torch.int16)
    frames = torch.zeros(2, 1, 96, 96, 3, dtype=torch.uint8)
    with HostWaits() as waits:
        total = backbone.audio_tokens(audio).sum() + backbone.visual_tokens(frames).sum()
        total.backward()
    assert not waits.counts


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).all()),
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: torch.unique(x),
        lambda x: [1, 2][int(x.argmax() > 1)],
    ],
)
def test_the_witnesses_see_a_wait(wait):
    with HostWaits() as waits:
        wait(torch.arange(3.0))
    assert sum(waits.counts.values()) > 0
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        wait(torch.arange(3.0, device="meta"))
    with HostWaits() as waits:
        (torch.arange(3.0) * 2).softmax(0)[torch.tensor([0, 2])].mean()
    assert not waits.counts
