"""`cign_analytic` on cached tokens against `cign` end to end, and with more classes.

    python benchmarks/speed/cached.py [--rounds 5] [--clips 1024] [--batch 16]

Both use clips of the release's ResNet-18 pair with random weights: `cign` from frames and samples,
in bfloat16, with 36 classes; `cign_analytic` from cached tokens (81 x 512 audio, 49 x 512 visual,
float16), with its recipe. The same is measured for tokens of the small encoders and, without a
bound, for one pooled token of each modality. A clip is counted each time it is processed: `cign`
processes each clip twenty times or more, `cign_analytic` once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from part import Found, Row, part, take_turns
from step import cign_method, cign_step, clips

from cign.backbones.resnet import ResNetPair
from cign.layers.rounding import rounded, rounded_products
from cign.methods.base import Batch
from cign.methods.cign_analytic import CignAnalytic
from cign.methods.modality_ridge import PIECE_BYTES
from cign.methods.phases import Phase, TrainingOptions
from cign.networks.encoder import TokenShape
from cign.networks.token_ridge import BLOCK

FEW, MANY = 36, 1000
SHAPES = {
    "ResNet-18 pair": TokenShape(
        audio_dim=512, visual_dim=512, num_audio_tokens=81, num_visual_tokens=49
    ),
    "ResNet-18 pair, pooled": TokenShape(
        audio_dim=512, visual_dim=512, num_audio_tokens=1, num_visual_tokens=1
    ),
    "small encoders": TokenShape(
        audio_dim=192, visual_dim=192, num_audio_tokens=12, num_visual_tokens=36
    ),
}


def learner(
    shape: TokenShape, num_classes: int, num_clips: int, seed: int = 0
) -> tuple[CignAnalytic, Batch, Phase]:
    """A method before learning any class, and a batch of random tokens for it."""
    from closed_form import flagship

    method = flagship(shape)
    method.grow(num_classes)
    rng = np.random.default_rng(seed)
    audio, visual = (
        torch.from_numpy(rng.standard_normal((num_clips, number, dim), np.float32)).half()
        for number, dim in (
            (shape.num_audio_tokens, shape.audio_dim),
            (shape.num_visual_tokens, shape.visual_dim),
        )
    )
    labels = torch.from_numpy(rng.integers(0, num_classes, num_clips))
    batch = Batch(
        audio=audio,
        visual=visual,
        targets=torch.nn.functional.one_hot(labels, num_classes).bool(),
        from_memory=torch.zeros(num_clips, dtype=torch.bool),
        indices=np.arange(num_clips),
    )
    phase = Phase(name="s", indices=batch.indices, options=TrainingOptions(), updates=False)
    return method, batch, phase


def learning(shape: TokenShape, num_classes: int, num_clips: int, size: int) -> Callable[[], None]:
    """Closed-form learning of clips with random tokens, in batches of a size."""
    method, _, phase = learner(shape, num_classes, size)
    # Enough different batches to exceed the processor caches, used repeatedly.
    batches = [learner(shape, num_classes, size, seed)[1] for seed in range(4)]

    def learn() -> None:
        for number in range(num_clips // size):
            method.learn(batches[number % len(batches)], phase)

    return learn


def products(shape: TokenShape, num_clips: int, size: int) -> Callable[[], None]:
    """Only the matrix products of `learning`: tokens by projection, features by features.

    The factors are precomputed and rounded, and results are overwritten, piece by piece. There is
    no normalisation, ReLU, weighting or summation.
    """
    from closed_form import flagship

    o = flagship(shape).options
    sizes = ((shape.num_audio_tokens, shape.audio_dim), (shape.num_visual_tokens, shape.visual_dim))
    tokens = [torch.randn(size * number, dim).bfloat16() for number, dim in sizes]
    projections = [torch.randn(dim, o.width).bfloat16() for _, dim in sizes]
    # The mean token and the most salient tokens of each clip.
    rows = [rounded(torch.randn(size * (1 + min(o.num_single, n)), o.width)) for n, _ in sizes]

    piece = PIECE_BYTES // (4 * o.width)
    held = torch.empty(piece, o.width, dtype=torch.bfloat16)

    def multiply() -> None:
        with rounded_products(enabled=True):
            for _ in range(num_clips // size):
                for x, projection, features in zip(tokens, projections, rows, strict=True):
                    for some in x.split(piece):
                        torch.mm(some, projection, out=held[: len(some)])
                    for begin in range(0, o.width, BLOCK):
                        features[:, begin:].T @ features[:, begin : begin + BLOCK]

    return multiply


def measure(options: argparse.Namespace) -> Found:
    from closed_form import flagship

    end_to_end = cign_method(FEW, bf16=True)
    backbone = end_to_end.network.encoder.backbone
    assert isinstance(backbone, ResNetPair)
    size = flagship(SHAPES["small encoders"]).options.batch_size
    num_clips = max(size, options.clips // size * size)
    contestants: dict[str, Callable[[], object]] = {
        "`cign` end to end": cign_step(end_to_end, clips(options.batch, FEW, backbone)),
    }
    for name, shape in SHAPES.items():
        for number in (FEW, MANY):
            contestants[f"{name}, {number} classes"] = learning(shape, number, num_clips, size)
    whole = "ResNet-18 pair"
    contestants[f"{whole}, its products alone"] = products(SHAPES[whole], num_clips, size)
    timed = take_turns(contestants, options.rounds)
    counts = dict.fromkeys(contestants, num_clips) | {"`cign` end to end": options.batch}
    rates = {name: counts[name] / one.median_s for name, one in timed.items()}
    rows = []
    for name in SHAPES:
        bounded = not name.endswith("pooled")
        few, many = rates[f"{name}, {FEW} classes"], rates[f"{name}, {MANY} classes"]
        rows += [
            Row(
                what=f"{name}: clips/s of `cign_analytic` / of `cign`, ResNet-18 end to end",
                ratio=few / rates["`cign` end to end"],
                at_least=100.0 if bounded else None,
            ),
            Row(
                what=f"{name}: time per clip with {MANY:,} classes / with {FEW}",
                ratio=few / many,
                at_most=1.15 if bounded else None,
            ),
        ]
    rows.append(
        Row(
            what=f"{whole}: clips/s of the closed form's matrix products / of `cign` end to end",
            ratio=rates[f"{whole}, its products alone"] / rates["`cign` end to end"],
        )
    )
    lines = ["| | clips/s | memory, MB |", "| --- | ---: | ---: |"]
    for name, one in timed.items():
        lines.append(f"| {name} | {rates[name]:,.1f} | {one.extra_mb:,.0f} |")
    lines += [
        "",
        f"Median of {options.rounds} alternating rounds: a step of {options.batch} clips, or "
        f"{num_clips:,} clips in batches of {size}. Memory: peak of the first round above the "
        "level before it.",
    ]
    return Found(rows=rows, table="\n".join(lines))


if __name__ == "__main__":
    part(
        "Learning on cached tokens",
        measure,
        script=__file__,
        options={
            "rounds": (5, "timed rounds"),
            "clips": (1024, "clips per round of cign_analytic"),
            "batch": (16, "batch size of cign"),
        },
    )
