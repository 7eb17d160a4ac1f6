"""Data loading overhead of training: the share of a phase that the loop spends outside its steps.

    python benchmarks/speed/waiting.py [--steps 12]

Runs the loop of `cign.training.loop` on clips in memory-mapped files: `cign` end to end with the
release's pair (frames and samples, batch 16), `cign` and `finetune` on cached tokens of the small
encoders (batch 32), and `cign_analytic` on the same (batch 256). All time outside steps counts as
waiting. The time to read the clips alone is reported beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from part import Found, Row, part

from cign.backbones.resnet import resnet_pair
from cign.data.arrays import RowWriter, create_array, map_array
from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.tasks import TaskClips, TaskSequence
from cign.methods import method_class
from cign.methods.base import Batch, Setup
from cign.methods.phases import Phase
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.runs.training_data import token_shape
from cign.training.distributed.comm import Share
from cign.training.loop import Loop
from cign.utils.options import builtin_recipe, configure

NUM_CLASSES = 36
SMALL = TokenShape(audio_dim=192, visual_dim=192, num_audio_tokens=12, num_visual_tokens=36)


class TimedLoop(Loop):
    """The loop with its steps and its phase timed, excluding the first step of a phase."""

    step_s = phase_s = read_s = 0.0

    def _step(self, batch: Batch, phase: Phase, share: Share | None) -> None:
        began = time.perf_counter()
        super()._step(batch, phase, share)
        ended = time.perf_counter()
        if self._steps_done == 1:
            self._second = ended
        else:
            self.step_s += ended - began
            self.phase_s = ended - self._second

    @property
    def waited(self) -> float:
        """Share of the phase spent outside the steps."""
        return 1.0 - self.step_s / self.phase_s


def mapped(folder: Path, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[str]) -> ArraySource:
    """Random clips in two memory-mapped files."""
    rng = np.random.default_rng(0)
    arrays = []
    for number, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)):
        path = folder / f"{number}.npy"
        create_array(path, shape, dtype)
        with RowWriter(path) as writer:
            for row in range(shape[0]):
                values: Any = rng.integers(0, 256, shape[1:])
                writer.write(row, values.astype(dtype)[None])
        arrays.append(map_array(path, shape, dtype, "benchmark"))
    audio, visual = arrays
    num_bytes = sum(array[0].nbytes for array in arrays)
    return ArraySource(lambda i: audio[i], lambda i: visual[i], bytes_per_clip=num_bytes)


def loop_of(name: str, source: ArraySource, num_clips: int, setup: Setup, size: int) -> TimedLoop:
    """A loop over one task with all classes."""
    names = tuple(f"class {number}" for number in range(NUM_CLASSES))
    labels = [(names[number % NUM_CLASSES],) for number in range(num_clips)]
    clips = TaskClips.of(labels, TaskSequence((names,)))
    values: dict[str, Any] = dict(builtin_recipe(name).options)
    if "training" in values:
        values["training"] = {
            **values["training"], "batch_size": size, "num_epochs": 1, "min_steps": 0
        }  # fmt: skip
    else:
        values["batch_size"] = size
    cls = method_class(name)
    torch.manual_seed(0)
    return TimedLoop(
        method=cls(setup, configure(cls.Options, values, "benchmark")),
        clips=clips,
        source=source,
        train=np.arange(num_clips),
        test=np.arange(2),
        memory=ExemplarMemory(MemoryBudget.parse("0")),
        predictions=Predictions(
            clip_ids=["0", "1"], labels=labels[:2], class_names=names, task_sizes=(NUM_CLASSES,)
        ),
    )


def measure(options: argparse.Namespace) -> Found:
    backbone = resnet_pair(None)
    spec = backbone.spec
    cases = [
        (
            "`cign` end to end",
            "cign",
            Setup(shape=token_shape(backbone), backbone=backbone, bf16=True),
            16,
            1,
        ),
        ("`cign`, cached tokens", "cign", Setup(shape=SMALL, bf16=True), 32, 1),
        ("`finetune`, cached tokens", "finetune", Setup(shape=SMALL, bf16=True), 32, 20),
        ("`cign_analytic`, cached tokens", "cign_analytic", Setup(shape=SMALL), 256, 1),
    ]
    rows, lines = (
        [],
        ["| | steps | ms per step | reading alone, ms |", "| --- | ---: | ---: | ---: |"],
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, (what, name, setup, size, times) in enumerate(cases):
            num_steps = options.steps * times
            num_clips = size * num_steps
            if setup.backbone is not None:
                frames = (spec.num_frames, spec.frame_px, spec.frame_px, 3)
                shapes, dtypes = ((spec.num_samples,), frames), ("int16", "uint8")
            else:
                shapes, dtypes = ((12, 192), (36, 192)), ("float16", "float16")
            place = Path(folder) / str(number)
            place.mkdir()
            source = mapped(place, [(num_clips, *shape) for shape in shapes], dtypes)
            loop = loop_of(name, source, num_clips, setup, size)
            loop.run()
            began = time.perf_counter()
            for first in range(0, num_clips, size):
                source.read(np.arange(first, first + size))
            read_s = (time.perf_counter() - began) / num_steps
            step_s = loop.phase_s / (loop._steps_done - 1)
            rows.append(
                Row(what=f"{what}: share of waiting", ratio=max(0.0, loop.waited), at_most=0.02)
            )
            lines.append(f"| {what} | {num_steps} | {1e3 * step_s:.1f} | {1e3 * read_s:.2f} |")
    return Found(rows=rows, table="\n".join(lines))


if __name__ == "__main__":
    part(
        "Waiting for data in training",
        measure,
        script=__file__,
        options={"steps": (12, "steps of the slowest case")},
    )
