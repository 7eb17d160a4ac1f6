"""Closed-form learning at scale: 1,000 classes and 200,000 cached clips, on one machine.

    python benchmarks/scale.py [--clips 200000] [--classes 1000] [--tasks 20]

The tokens are simulated and generated on demand, so that they are never all in memory: a centre for
each class and modality plus noise for each clip, float16, in the small encoders' shape. The loop,
the method and its recipe are those of a normal run. A checkpoint after each task is saved in
``work/scale``; an interrupted run resumes from it (``--again`` starts over). Writes
``benchmarks/results/scale.md``; `--clips 2000 --classes 40 --tasks 2` takes seconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cign.data.batches import AHEAD, BoolArray
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.tasks import IntArray, TaskClips, split_into_tasks
from cign.methods.base import Setup
from cign.methods.cign_analytic import CignAnalytic
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.training.loop import Loop
from cign.utils.checkpoint import load_tree
from cign.utils.files import read_json, write_json, write_text
from cign.utils.options import builtin_recipe, configure
from cign.vocabulary import MODALITIES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "benchmarks" / "results" / "scale.md"
SHAPE = TokenShape(audio_dim=192, visual_dim=192, num_audio_tokens=12, num_visual_tokens=36)
TEST_PER_CLASS = 1
# Centres are so close that a linear classifier of the mean token is imperfect at 1,000 classes.
SPREAD = 0.15


@dataclass
class Simulated:
    """Tokens of clips by index, deterministic.

    Attributes:
        num_classes: Clip i is of class i modulo this.
        making_s: Seconds spent generating tokens, in the prefetching thread.
    """

    num_classes: int
    making_s: float = 0.0
    centres: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        for dim in (SHAPE.audio_dim, SHAPE.visual_dim):
            self.centres.append(SPREAD * rng.standard_normal((self.num_classes, dim), np.float32))

    @property
    def bytes_per_clip(self) -> int:
        """Bytes of the float16 tokens of a clip."""
        audio = SHAPE.num_audio_tokens * SHAPE.audio_dim
        return 2 * (audio + SHAPE.num_visual_tokens * SHAPE.visual_dim)

    def read(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """See `cign.data.batches.ClipSource`."""
        began = time.perf_counter()
        parts: list[list[np.ndarray]] = [[], []]
        for index in indices:
            rng = np.random.default_rng((1, int(index)))
            label = int(index) % self.num_classes
            for number, (part, count) in enumerate(
                zip(parts, (SHAPE.num_audio_tokens, SHAPE.num_visual_tokens), strict=True)
            ):
                centre = self.centres[number][label]
                noise = rng.standard_normal((count, len(centre)), np.float32)
                part.append((centre + noise).astype(np.float16))
        self.making_s += time.perf_counter() - began
        audio, visual = (torch.from_numpy(np.stack(part)) for part in parts)
        return audio, visual

    @property
    def ahead(self) -> int:
        """See `cign.data.batches.ClipSource`."""
        return AHEAD

    def availability(self, indices: IntArray) -> tuple[BoolArray, BoolArray]:
        """See `cign.data.batches.ClipSource`."""
        all_available = np.ones(len(indices), dtype=np.bool_)
        return all_available, all_available


def make_loop(options: argparse.Namespace, source: Simulated) -> Loop:
    """A run over all clips; the last ``TEST_PER_CLASS`` of each class are its test clips."""
    names = [f"class {number:04d}" for number in range(options.classes)]
    labels = [(names[index % options.classes],) for index in range(options.clips)]
    num_test = TEST_PER_CLASS * options.classes
    test = np.arange(options.clips - num_test, options.clips)
    recipe = builtin_recipe("cign_analytic")
    method = CignAnalytic(
        Setup(shape=SHAPE), configure(CignAnalytic.Options, recipe.options, "recipe")
    )
    clips = TaskClips.of(labels, split_into_tasks(names, options.tasks, 0))
    return Loop(
        method=method,
        clips=clips,
        source=source,
        train=np.arange(options.clips - num_test),
        test=test,
        memory=ExemplarMemory(MemoryBudget.parse("0")),
        predictions=Predictions(
            clip_ids=[str(index) for index in test],
            labels=[labels[index] for index in test],
            class_names=clips.tasks.class_order,
            task_sizes=clips.tasks.sizes,
        ),
        checkpoint=options.work / "checkpoint.safetensors",
        predictions_path=options.work / "predictions.parquet",
    )


class Diary:
    """Costs of each task, saved beside the checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tasks: list[dict[str, Any]] = (
            read_json(path, "diary")["tasks"] if path.exists() else []
        )

    def watch(self, loop: Loop, source: Simulated) -> None:
        """Record the costs after each task."""
        self._at = (loop.seconds, source.making_s)

        def after_task() -> None:
            task = loop.place.task - 1
            seconds, making_s = loop.seconds - self._at[0], source.making_s - self._at[1]
            self._at = (loop.seconds, source.making_s)
            del self.tasks[task:]
            self.tasks.append(
                {
                    "classes": loop.method.num_classes,
                    "clips": len(loop.clips.of_task(loop.train, task)),
                    "seconds": seconds,
                    "making_s": making_s,
                    "state_bytes": loop.method.state_bytes,
                    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
                }
            )
            write_json(self.path, {"tasks": self.tasks})
            last = self.tasks[-1]
            print(f"task {task + 1}: {last['clips'] / seconds:,.0f} clips/s", flush=True)

        loop.after_task = after_task


def accuracies(predictions: Predictions) -> dict[str, float]:
    """Last accuracy of each modality in percent."""
    names = np.array(predictions.class_names)
    truth = np.array([labels[0] for labels in predictions.labels])
    last = predictions.scores[-1]
    return {r: 100.0 * float((names[last[r].argmax(axis=1)] == truth).mean()) for r in MODALITIES}


def page(
    options: argparse.Namespace, diary: Diary, found: dict[str, float], state_bytes: int
) -> str:
    """The results as Markdown."""
    tasks = diary.tasks
    first, last = tasks[0], tasks[-1]
    seconds = sum(task["seconds"] for task in tasks)
    num_clips = sum(task["clips"] for task in tasks)
    ratio = (last["seconds"] / last["clips"]) / (first["seconds"] / first["clips"])
    token_bytes = Simulated(2).bytes_per_clip * num_clips
    words = "".join(
        f" --{name} {getattr(options, name)}"
        for name, default in DEFAULTS.items()
        if getattr(options, name) != default
    )
    lines = [
        "# Closed-form learning at scale",
        "",
        f"`python benchmarks/scale.py{words}`",
        "",
        f"`cign_analytic` with its recipe on {num_clips:,} simulated clips of {options.classes:,} "
        f"classes in {options.tasks} tasks, {len(os.sched_getaffinity(0))} cores, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {platform.machine()}. "
        "Seconds include learning, solving, testing and saving after each task; tokens are "
        "generated in a parallel thread.",
        "",
        "| known classes | clips | seconds | clips/s | generating tokens, s | state, MB "
        "| peak memory, MB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for task in tasks:
        lines.append(
            f"| {task['classes']:,} | {task['clips']:,} | {task['seconds']:.1f} "
            f"| {task['clips'] / task['seconds']:,.0f} | {task['making_s']:.1f} "
            f"| {task['state_bytes'] / 1e6:.1f} | {task['peak_mb']:,.0f} |"
        )
    lines += [
        "",
        f"Total: {seconds:,.0f} s, {num_clips / seconds:,.0f} clips/s. A clip of the last task "
        f"takes {ratio:.2f} times as long as one of the first, including all work after a task. "
        f"The state is {state_bytes / 1e6:,.1f} MB; the tokens of the clips would be "
        f"{token_bytes / 1e9:,.2f} GB.",
        "",
        f"Accuracy on {TEST_PER_CLASS * options.classes:,} test clips over all classes: "
        + ", ".join(f"{name.replace('_', '-')} {value:.1f} %" for name, value in found.items())
        + f"; chance level is {100 / options.classes:.2g} %. The clips are simulated: the accuracy "
        "verifies the sums, it does not measure the quality of the method.",
    ]
    return "\n".join(lines) + "\n"


DEFAULTS = {"clips": 200_000, "classes": 1000, "tasks": 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "scale")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--again", action="store_true", help="start over")
    options = parser.parse_args()
    if options.clips < 4 * options.classes:
        parser.error(f"--clips {options.clips} is less than four per class: give more clips")
    asked = {name: getattr(options, name) for name in DEFAULTS}
    record = options.work / "asked.json"
    if options.again or not record.exists() or read_json(record, "options") != asked:
        shutil.rmtree(options.work, ignore_errors=True)
        options.work.mkdir(parents=True)
        write_json(record, asked)
    source = Simulated(options.classes)
    loop = make_loop(options, source)
    assert loop.checkpoint is not None
    if loop.checkpoint.exists():
        # The number of threads must not change: rounding depends on it.
        print(f"resuming at task {load_tree(loop.checkpoint)['place']['task'] + 1}", flush=True)
        loop.predictions = Predictions.load(options.work / "predictions.parquet")
        loop.resume()
    diary = Diary(options.work / "diary.json")
    diary.watch(loop, source)
    loop.run()
    text = page(options, diary, accuracies(loop.predictions), loop.method.state_bytes)
    print(text)
    write_text(options.page, text)


if __name__ == "__main__":
    main()
