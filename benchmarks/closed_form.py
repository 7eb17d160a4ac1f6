"""Checks of `cign_analytic`: predictions independent of tasks and order, time to add a class.

    python benchmarks/closed_form.py STORE [--out benchmarks/results/closed_form.md]

First, the store is learned in 1, 4, 12 and 24 tasks and with other class orders, and the
predictions on its test clips are compared. Then, with random tokens of the store's shape, a class
of 60 clips is added to 36 and to 1,000 known classes: median of five times, and size of the state.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from cign.backbones.registry import load_backbone
from cign.data.store import Store
from cign.learner import Learner
from cign.methods.base import Batch, Setup
from cign.methods.cign_analytic import CignAnalytic
from cign.methods.phases import Phase, TrainingOptions
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.runs.training_data import token_shape
from cign.utils.files import write_text
from cign.utils.options import builtin_recipe, configure
from cign.vocabulary import MODALITIES

RUNS = ((1, 0), (4, 0), (12, 0), (24, 0), (4, 1), (12, 2), (24, 3))
NUM_CLIPS = 60


def answers(store: Store, num_tasks: int, order: int, folder: Path) -> dict[str, np.ndarray]:
    """Names of the predicted classes after the last task, for each modality."""
    out = folder / f"t{num_tasks}-o{order}"
    shutil.rmtree(out, ignore_errors=True)
    Learner("cign_analytic", backbone="small").learn(store, tasks=num_tasks, order=order, out=out)
    predictions = Predictions.load(out / "predictions.parquet")
    names = np.array(predictions.class_names)
    last = predictions.scores[-1]
    return {modality: names[last[modality].argmax(axis=1)] for modality in MODALITIES}


def same_answers(store: Store, folder: Path) -> list[str]:
    """Share of the test clips with the same prediction as learning all classes at once."""
    lines = [
        "| tasks | order | audio | visual | audio-visual |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    first: dict[str, np.ndarray] = {}
    for num_tasks, order in RUNS:
        found = answers(store, num_tasks, order, folder)
        first = first or found
        same = [f"{100 * (found[r] == first[r]).mean():.2f}" for r in MODALITIES]
        lines.append(f"| {num_tasks} | {order} | {' | '.join(same)} |")
    return lines


def made_up(shape: TokenShape, label: int, num_classes: int, rng: np.random.Generator) -> Batch:
    """Sixty random clips of one class: tokens around a centre."""
    parts = []
    for num_tokens, dim in (
        (shape.num_audio_tokens, shape.audio_dim),
        (shape.num_visual_tokens, shape.visual_dim),
    ):
        centre = rng.standard_normal((1, 1, dim), dtype=np.float32)
        noise = rng.standard_normal((NUM_CLIPS, num_tokens, dim), dtype=np.float32)
        parts.append(torch.from_numpy(centre + noise).half())
    targets = torch.zeros(NUM_CLIPS, num_classes, dtype=torch.bool)
    targets[:, label] = True
    none = torch.zeros(NUM_CLIPS, dtype=torch.bool)
    return Batch(
        audio=parts[0],
        visual=parts[1],
        targets=targets,
        from_memory=none,
        indices=np.arange(NUM_CLIPS),
    )


def flagship(shape: TokenShape) -> CignAnalytic:
    """`cign_analytic` with its recipe, before learning any class."""
    recipe = builtin_recipe("cign_analytic")
    return CignAnalytic(
        Setup(shape=shape), configure(CignAnalytic.Options, recipe.options, "recipe")
    )


def adding(shape: TokenShape, num_known: int) -> tuple[float, int]:
    """Median seconds of adding a class to known ones, and the bytes of the state."""
    method = flagship(shape)
    rng = np.random.default_rng(0)
    phase = Phase(name="s", indices=np.arange(2), options=TrainingOptions(), updates=False)
    method.grow(num_known)
    for label in range(0, num_known, max(1, num_known // 40)):  # enough classes to fill the sums
        method.learn(made_up(shape, label, num_known, rng), phase)
    seconds = []
    for more in range(5):
        batch = made_up(shape, num_known + more, num_known + more + 1, rng)
        begun = time.perf_counter()
        method.grow(1)
        method.learn(batch, phase)
        method.solve()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds), method.state_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("work/closed_form"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    store = Store.open(arguments.store)
    shape = token_shape(load_backbone("small"))
    lines = [
        "# Properties of the closed form",
        "",
        f"`python benchmarks/closed_form.py {arguments.store}`",
        "",
        "Percent of the test clips with the same prediction as learning all classes at once:",
        "",
        *same_answers(store, arguments.runs),
        "",
        f"Adding a class of {NUM_CLIPS} clips of cached tokens, {torch.get_num_threads()} threads:",
        "",
        "| known classes | seconds | state, MB |",
        "| ---: | ---: | ---: |",
    ]
    for num_known in (36, 1000):
        seconds, num_bytes = adding(shape, num_known)
        lines.append(f"| {num_known} | {seconds:.2f} | {num_bytes / 1e6:.1f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
