"""Regenerate the table of expected results of each method on a small problem.

The problem has tokens of 12 overlapping classes in 4 tasks, drawn by NumPy from a fixed seed. A
method's results are recorded with the commit of the code. `make test-slow` repeats every run and
compares it with the record.

    python benchmarks/expected.py [--methods ewc,lwf]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
from torch import nn

from cign.backbones.blocks import FrozenBlocks, TokenBlocks
from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.tasks import TaskClips, split_into_tasks
from cign.layers.transformer import Transformer
from cign.methods import METHODS
from cign.methods.base import Setup
from cign.methods.phases import TrainingOptions
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.runs.record import versions
from cign.training.loop import Loop
from cign.utils.code_version import PACKAGE, code_version
from cign.utils.files import read_json, write_json
from cign.utils.options import configure

RESULTS = Path(__file__).parent / "results" / "expected.json"
TOLERANCE_POINTS = 2.0

NUM_CLASSES, NUM_TASKS, NUM_TRAIN, NUM_TEST = 12, 4, 30, 40
MEMORIES = ("0", "48")
SHAPE = TokenShape(audio_dim=24, visual_dim=32, num_audio_tokens=4, num_visual_tokens=6)
# Noise of clips around their class and of tokens around their clip; centres have variance 1.
CLIP_NOISE, TOKEN_NOISE, CENTRE_DIMS = 1.0, 1.0, 6

TRAINING = {"num_epochs": 15, "batch_size": 16, "learning_rate": 3e-3}
TRANSFORMER = {"trunk": "transformer", "depth": 1, "num_heads": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "cign": {"depth": 1, "num_heads": 4},
    "cign_tuned": {"depth": 1, "num_heads": 4},
    "analytic": {
        "width": 200,
        "pooling": ["mean"],
        "ridge": [10.0],
        "temperature": [0.1],
        "count_power": [0.0],
    },
    "cign_analytic": {
        "width": 200,
        "pooling": ["tokens"],
        "contrast": [0.5],
        "saliency": [2.0],
        "token_share": [0.2],
        "ridge": [10.0],
        "assignment_temperature": [0.3],
        "temperature": [0.1],
        "count_power": [0.5],
    },
    "ranpac": {"width": 500},
    "l2p": {"pooled": "tokens"},
    "icarl": TRANSFORMER,
    "podnet": {**TRANSFORMER, "initial_scale": 5.0},
    "av_cil": TRANSFORMER,
}


def options_of(name: str) -> dict[str, Any]:
    """Options of a method; every training phase has the same short length."""
    hints = get_type_hints(METHODS[name].Options)
    phases = [option for option, hint in hints.items() if hint is TrainingOptions]
    training = {**TRAINING, "min_steps": 0}
    return {**dict.fromkeys(phases, training), **OPTIONS.get(name, {})}


def cases() -> list[tuple[str, str]]:
    """Every method with each memory that it supports."""
    return [
        (name, memory)
        for name, method in METHODS.items()
        for memory in MEMORIES
        if (memory != "0" or not method.needs_memory) and (memory == "0" or method.uses_memory)
    ]


def tokens() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, mask of the test clips, audio and visual tokens in float16."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([2024, 12])))
    labels = np.tile(np.arange(NUM_CLASSES), NUM_TRAIN + NUM_TEST)
    is_test = np.arange(len(labels)) >= NUM_CLASSES * NUM_TRAIN
    parts = []
    for num_tokens, dim in (
        (SHAPE.num_audio_tokens, SHAPE.audio_dim),
        (SHAPE.num_visual_tokens, SHAPE.visual_dim),
    ):
        # Few dimensions separate the classes, so that they overlap.
        basis = np.linalg.qr(rng.normal(size=(dim, CENTRE_DIMS)))[0].T
        clips = rng.normal(size=(NUM_CLASSES, CENTRE_DIMS))[labels]
        clips = clips + CLIP_NOISE * rng.normal(size=clips.shape)
        x = (clips @ basis)[:, None] * np.sqrt(dim / CENTRE_DIMS)
        x = x + TOKEN_NOISE * rng.normal(size=(len(labels), num_tokens, dim))
        parts.append(x.astype(np.float16))
    return labels, is_test, *parts


def frozen_blocks() -> FrozenBlocks:
    """Random frozen transformers, for prompt methods."""
    torch.manual_seed(1)
    return FrozenBlocks(
        *(
            TokenBlocks(
                Transformer(dim, 2, num_heads=4).blocks, nn.LayerNorm(dim), width=dim, num_tokens=n
            )
            for dim, n in (
                (SHAPE.audio_dim, SHAPE.num_audio_tokens),
                (SHAPE.visual_dim, SHAPE.num_visual_tokens),
            )
        )
    )


def run(name: str, memory: str) -> dict[str, dict[str, float]]:
    """Last and average incremental accuracy of each modality in percent."""
    labels, is_test, audio, visual = tokens()
    names = [f"class {c:02d}" for c in range(NUM_CLASSES)]
    clips = TaskClips.of([(names[c],) for c in labels], split_into_tasks(names, NUM_TASKS))
    cls = METHODS[name]
    blocks = frozen_blocks() if cls.needs_blocks else None
    torch.manual_seed(0)
    method = cls(Setup(shape=SHAPE, blocks=blocks), configure(cls.Options, options_of(name), name))
    test = np.flatnonzero(is_test)
    loop = Loop(
        method=method,
        clips=clips,
        source=ArraySource(lambda i: audio[i], lambda i: visual[i], bytes_per_clip=1),
        train=np.flatnonzero(~is_test),
        test=test,
        memory=ExemplarMemory(MemoryBudget.parse(memory)),
        predictions=Predictions(
            clip_ids=[str(i) for i in test],
            labels=[(names[labels[i]],) for i in test],
            class_names=clips.tasks.class_order,
            task_sizes=clips.tasks.sizes,
        ),
    )
    loop.run()
    found = summarise(loop.predictions)
    return {
        number: {modality: round(float(values[number]), 2) for modality, values in found.items()}
        for number in ("last", "average")
    }


def main() -> None:
    """Compute the results and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--methods", default=",".join(METHODS), help="methods to run again")
    chosen = parser.parse_args().methods.split(",")
    torch.set_num_threads(1)
    before = read_json(RESULTS, "expected figures")["figures"] if RESULTS.exists() else {}
    code = code_version(PACKAGE, Path(__file__))
    figures = {}
    for name, memory in cases():
        key = f"{name}@{memory}"
        if name in chosen:
            figures[key] = {**run(name, memory), "code": code}
            print(key, figures[key], flush=True)
        elif key in before:
            figures[key] = before[key]
    about = {"made_by": "python benchmarks/expected.py", "versions": versions()}
    content = {"format": 1, **about, "tolerance_points": TOLERANCE_POINTS, "figures": figures}
    write_json(RESULTS, content)


if __name__ == "__main__":
    main()
