"""An end-to-end training step of `cign` against the release's architecture in fp32.

    python benchmarks/speed/step.py [--rounds 5] [--batch 16]

ResNet-18 pair on 224 px frames and 257 x 276 spectrograms, random weights, D = 512, 36 and 220
classes, one optimizer step. `cign` starts from stored frames and samples, so its time includes
crop, flip, spectrogram and normalisation; the release's network gets preprocessed frames and
spectrograms. Two further variants separate the causes: `cign` in fp32 and the default layout (the
effect of the architecture), and the release's architecture in bfloat16 and channels-last.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from part import Found, Row, Timed, part, take_turns
from release import ReleaseNetwork

from cign.backbones.resnet import ResNetPair, resnet_pair
from cign.methods.base import Batch, Setup
from cign.methods.cign import Cign, CignOptions
from cign.methods.phases import Phase, make_optimizer
from cign.runs.training_data import token_shape

CLASSES = (36, 220)
RELEASE, PLAIN, OURS, RELEASE_BF16 = (
    "release, fp32",
    "cign, fp32, default layout",
    "cign, bf16, channels-last",
    "release, bf16, channels-last",
)


def clips(num_clips: int, num_classes: int, backbone: ResNetPair) -> Batch:
    """Random clips in the format of a store."""
    generator = torch.Generator().manual_seed(0)
    spec = backbone.spec
    shape = (num_clips, spec.num_frames, spec.frame_px, spec.frame_px, 3)
    labels = torch.randint(0, num_classes, (num_clips,), generator=generator)
    return Batch(
        audio=torch.randint(
            -9000, 9000, (num_clips, spec.num_samples), generator=generator, dtype=torch.int16
        ),
        visual=torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        targets=torch.nn.functional.one_hot(labels, num_classes).bool(),
        from_memory=torch.zeros(num_clips, dtype=torch.bool),
        indices=np.arange(num_clips),
    )


def cign_method(num_classes: int, *, bf16: bool) -> Cign:
    """`cign` with its defaults on the release's pair."""
    torch.manual_seed(0)
    backbone = resnet_pair(None)
    setup = Setup(shape=token_shape(backbone), backbone=backbone, bf16=bf16)
    method = Cign(setup, CignOptions())
    method.grow(num_classes)
    return method.train()


def default_layout(method: Cign) -> Cign:
    """Restore the default memory layout of the encoders' weights and inputs."""

    def plain(_: Any, __: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return (), {"pixel_values": kwargs["pixel_values"].contiguous()}

    backbone = method.network.encoder.backbone
    assert isinstance(backbone, ResNetPair)
    for encoder in (backbone.visual, backbone.audio):
        encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        encoder.register_forward_pre_hook(plain, with_kwargs=True)
    return method


def cign_step(method: Cign, batch: Batch) -> Callable[[], None]:
    """A step as in `cign.training.loop`."""
    options = method.options.training
    optimizer = make_optimizer(method.named_parameters(), options)
    phase = Phase(name="train", indices=batch.indices, options=options)

    def step() -> None:
        losses = method.learn(batch, phase)
        assert losses is not None
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()

    return step


def release_step(num_clips: int, num_classes: int, *, bf16: bool) -> Callable[[], None]:
    """A step of the release's architecture: Adam 1e-4, preprocessed frames and spectrograms."""
    torch.manual_seed(0)
    network = ReleaseNetwork(num_classes).train()
    spectrograms, frames = torch.randn(num_clips, 1, 257, 276), torch.randn(num_clips, 3, 224, 224)
    labels = torch.randint(0, num_classes, (num_clips,))
    if bf16:
        for encoder in (network.audio_encoder, network.visual_encoder):
            encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        spectrograms = spectrograms.contiguous(memory_format=torch.channels_last)
        frames = frames.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            audio, visual = network(spectrograms, frames)
        loss = network.loss_of(audio.float(), visual.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def contestants(num_clips: int, num_classes: int) -> dict[str, Callable[[], None]]:
    """One step of each variant."""
    ours = cign_method(num_classes, bf16=True)
    plain = default_layout(cign_method(num_classes, bf16=False))
    backbone = ours.network.encoder.backbone
    assert isinstance(backbone, ResNetPair)
    batch = clips(num_clips, num_classes, backbone)
    return {
        RELEASE: release_step(num_clips, num_classes, bf16=False),
        PLAIN: cign_step(plain, batch),
        OURS: cign_step(ours, batch),
        RELEASE_BF16: release_step(num_clips, num_classes, bf16=True),
    }


def measure(options: argparse.Namespace) -> Found:
    timed: dict[int, dict[str, Timed]] = {}
    for num_classes in CLASSES:
        timed[num_classes] = take_turns(contestants(options.batch, num_classes), options.rounds)
    few, many = ({name: one.median_s for name, one in timed[number].items()} for number in CLASSES)
    growth = f"time of a step with {CLASSES[1]} classes / with {CLASSES[0]}"
    rows = [
        Row(what=f"speed of `cign` / of the release in fp32, {CLASSES[0]} classes", at_least=3.0,
            ratio=few[RELEASE] / few[OURS]),
        Row(what="of that, due to architecture (both fp32, default layout)",
            ratio=few[RELEASE] / few[PLAIN]),
        Row(what="of that, due to precision and layout (`cign` / `cign` in fp32)",
            ratio=few[PLAIN] / few[OURS]),
        Row(what="speed of `cign` / of the release's architecture in bf16, channels-last",
            ratio=few[RELEASE_BF16] / few[OURS]),
        Row(what=f"speed of `cign` / of the release in fp32, {CLASSES[1]} classes",
            ratio=many[RELEASE] / many[OURS]),
        Row(what=f"`cign`: {growth}", ratio=many[OURS] / few[OURS]),
        Row(what=f"release: {growth}", ratio=many[RELEASE] / few[RELEASE]),
    ]  # fmt: skip
    lines = ["| classes | | clips/s | memory of a step, MB |", "| ---: | --- | ---: | ---: |"]
    for number, found in timed.items():
        for name, one in found.items():
            rate = options.batch / one.median_s
            lines.append(f"| {number} | {name} | {rate:.2f} | {one.extra_mb:,.0f} |")
    lines += [
        "",
        f"Batch {options.batch}, median of {options.rounds} alternating steps. Memory: peak of the "
        "first step above weights and clips, including Adam's moments.",
    ]
    return Found(rows=rows, table="\n".join(lines))


if __name__ == "__main__":
    part(
        "A training step end to end",
        measure,
        script=__file__,
        options={"rounds": (5, "timed steps of each"), "batch": (16, "batch size")},
    )
