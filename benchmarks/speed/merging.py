"""Time of merging two models of 1,000 classes each, and of forgetting a clip of one.

    python benchmarks/speed/merging.py

writes ``benchmarks/results/merging.md``. The models are of `cign_analytic` with its recipe and the
tokens of ``lite0+sfx``; each learned one clip of each class, made of random numbers, because the
time depends on the number of classes alone. Measured are the operations in memory, and the commands
from start to end, which also read and write the models.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from part import machine

from cign.data.batches import ArraySource
from cign.data.clips import Clip
from cign.data.media.decode import MediaSpec
from cign.methods import default_recipe, method_class
from cign.methods.base import Setup
from cign.networks.encoder import TokenShape
from cign.saved_model.folder import save_model
from cign.saved_model.model import Model
from cign.updating.edits import add_clips
from cign.updating.forgetting import forget_recorded
from cign.updating.learned_clips import ClipsToForget
from cign.updating.merging import merge_models
from cign.updating.new_clips import NewClips
from cign.utils.files import write_text
from cign.utils.options import configure

OUT = Path(__file__).parents[1] / "results" / "merging.md"
NUM_CLASSES = 1000
SHAPE = TokenShape(audio_dim=512, visual_dim=1280, num_audio_tokens=16, num_visual_tokens=16)
NONE = np.zeros(0, dtype=np.int64)


def learned(first: int) -> tuple[Model, ArraySource]:
    """A model that learned one clip of random tokens of each class, and the clips."""
    names = tuple(f"class {first + c:04d}" for c in range(NUM_CLASSES))
    rng = np.random.default_rng(first)
    audio = rng.standard_normal((NUM_CLASSES, 16, SHAPE.audio_dim)).astype(np.float16)
    visual = rng.standard_normal((NUM_CLASSES, 16, SHAPE.visual_dim)).astype(np.float16)
    source = ArraySource(lambda i: audio[i], lambda i: visual[i], 0)
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    cls = method_class("cign_analytic")
    options = configure(cls.Options, default_recipe("cign_analytic").options, "recipe")
    setup = Setup(shape=SHAPE, backbone=None, blocks=None, multi_label=False, bf16=False)
    empty = Model(
        method=cls(setup, options).eval(),
        groups=(),
        regime="frozen",
        backbone="lite0+sfx@4x4+4x4",
        fingerprint="made",
        spec=MediaSpec(),
    )
    clips = NewClips(
        clips=[
            Clip(id=f"{name}.mp4", path=Path(f"/{name}.mp4"), labels=(name,), split="train")
            for name in names
        ],
        hashes=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
        list_hash="",
        order=names,
        source=source,
        learned=np.arange(NUM_CLASSES),
        validation=NONE,
        kept=NONE,
        notes=(),
    )
    return add_clips(empty, clips)[0], source


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds and CPU seconds of a call."""
    begun, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - begun, time.process_time() - cpu


def command(*words: str) -> tuple[float, float]:
    """Seconds and CPU seconds of a command, from start to end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "cign", *words], check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, and write the page."""
    load = os.getloadavg()[0]
    (first, source), (second, _) = learned(0), learned(NUM_CLASSES)
    chosen = ClipsToForget(
        rows=np.array([0]), indices=np.array([0]), validation=NONE, num_left_out=0
    )
    rows = [
        ("merge in memory", timed(lambda: merge_models([first, second], "A"))),
        ("forget a clip in memory", timed(lambda: forget_recorded(first, chosen, source))),
    ]
    with tempfile.TemporaryDirectory() as folder:
        places = [str(Path(folder) / name) for name in ("one", "two", "both")]
        for model, place in zip((first, second), places, strict=False):
            save_model(model, Path(place))
        size = (Path(places[0]) / "model.safetensors").stat().st_size
        words = ("merge", *places[:2], "--out", places[2], "--settings", "A")
        rows.append(("`cign merge`, with reading and writing", command(*words)))
    described = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [f"| {name} | {seconds:.1f} | {cpu:.1f} |" for name, (seconds, cpu) in rows]
    write_text(
        OUT,
        "# Time of merging and forgetting at 1,000 classes\n\n"
        "`python benchmarks/speed/merging.py`\n\n"
        f"Two models of `cign_analytic`, each of {NUM_CLASSES:,} classes and {size / 1e6:,.0f} MB; "
        "the merged model\nhas 2,000. The goal is a merge within 5 s.\n\n"
        "| operation | seconds | CPU seconds |\n| --- | ---: | ---: |\n"
        + "\n".join(lines)
        + f"\n\nMachine: {described}; load {load:.1f} at the start.\n",
    )


if __name__ == "__main__":
    main()
