"""A small problem in memory: clustered tokens that every method can learn in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import numpy as np
import torch
from torch import nn

from cign.backbones.blocks import FrozenBlocks, TokenBlocks
from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.tasks import TaskClips
from cign.layers.transformer import Transformer
from cign.methods import method_class
from cign.methods.base import Method, Setup
from cign.methods.phases import TrainingOptions
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.runs.arrival import ArrivalConfig
from cign.training.loop import Loop
from cign.utils.options import configure

SHAPE = TokenShape(audio_dim=16, visual_dim=16, num_audio_tokens=3, num_visual_tokens=4)
QUICK = {"num_epochs": 2, "min_steps": 0, "batch_size": 13}
# One value for each option that a closed-form method would select.
FIXED = {
    "analytic": {
        "pooling": ["mean"],
        "ridge": [1.0],
        "temperature": [0.1],
        "count_power": [0.0],
    },
    "cign_analytic": {
        "pooling": ["tokens"],
        "contrast": [0.5],
        "saliency": [2.0],
        "token_share": [0.2],
        "ridge": [1.0],
        "assignment_temperature": [0.3],
        "temperature": [0.1],
        "count_power": [0.5],
    },
}
FAST = {"training": {"num_epochs": 2, "min_steps": 0, "batch_size": 8}}


def toy_tokens(num_classes=6, per_class=12, seed=0, noise=0.5):
    """Tokens around a centre for each class and modality: labels, audio, visual (float16)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    parts = []
    for num_tokens in (SHAPE.num_audio_tokens, SHAPE.num_visual_tokens):
        centres = rng.normal(size=(num_classes, 1, 16))
        x = centres[labels] + noise * rng.normal(size=(len(labels), num_tokens, 16))
        parts.append(x.astype(np.float16))
    return labels, *parts


def toy_blocks() -> FrozenBlocks:
    """Frozen random transformers of both modalities, for methods that need them."""
    torch.manual_seed(0)
    parts = [
        TokenBlocks(
            Transformer(16, 2, num_heads=2).blocks, nn.LayerNorm(16), width=16, num_tokens=number
        )
        for number in (SHAPE.num_audio_tokens, SHAPE.num_visual_tokens)
    ]
    return FrozenBlocks(*parts)


def toy_method(name: str, options: dict | None = None, **setup) -> Method:
    cls = method_class(name)
    if cls.needs_blocks:
        setup.setdefault("blocks", toy_blocks())
    torch.manual_seed(
        0
    )  # first weights come from the run's seed, as in `cign.runs.build.build_method`
    return cls(Setup(shape=SHAPE, **setup), configure(cls.Options, options or {}, "options"))


def quick_options(name: str, training: dict | None = None, **options) -> dict:
    """Options of any method for a run that is done in a moment; also of one that comes later."""
    hints = get_type_hints(method_class(name).Options)
    nested = [option for option, hint in hints.items() if hint is TrainingOptions]
    nested = [option for option in nested if option != "adaptation"]  # of encoders alone
    smaller = {
        "analytic": {"width": 20, "ridge": [1.0]},
        "cign_analytic": {"width": 20},
        "ranpac": {"width": 20},
    }.get(name, {})
    if "depth" in hints and "trunk" not in hints:
        smaller = {"depth": 1}
    return {**dict.fromkeys(nested, training or QUICK), **smaller, **options}


def toy_loop(
    name: str,
    *,
    options: dict | None = None,
    num_tasks: int = 3,
    memory: str = "0",
    folder: Path | None = None,
    seed: int = 0,
    num_classes: int = 6,
    per_class: int = 12,
    noise: float = 0.5,
    order: int = 0,
    arrival: dict | None = None,
    **kwargs,
) -> Loop:
    labels, audio, visual = toy_tokens(num_classes, per_class, noise=noise)
    names = [f"class {c}" for c in range(num_classes)]
    stream = ArrivalConfig(**(arrival or {}))
    clips = TaskClips.of([(names[c],) for c in labels], stream.cut(names, num_tasks, order))
    is_test = np.arange(len(labels)) % 3 == 0
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    clips = stream.drawn(clips, train, seed)
    train = train[clips.arrival[train] >= 0]
    return Loop(
        method=toy_method(name, FAST if options is None else options),
        clips=clips,
        source=ArraySource(lambda i: audio[i], lambda i: visual[i], bytes_per_clip=224),
        train=train,
        test=test,
        memory=ExemplarMemory(MemoryBudget.parse(memory)),
        predictions=Predictions(
            clip_ids=[str(i) for i in test],
            labels=[(names[labels[i]],) for i in test],
            class_names=clips.tasks.class_order,
            task_sizes=clips.tasks.sizes,
        ),
        seed=seed,
        online=stream.online(),
        checkpoint=None if folder is None else folder / "checkpoint.safetensors",
        predictions_path=None if folder is None else folder / "predictions.parquet",
        **kwargs,
    )
