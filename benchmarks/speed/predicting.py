"""`predict` with the small encoders against decoding of the same clips by PyAV alone.

    python benchmarks/speed/predicting.py [--clips 24] [--rounds 3]

The clips and the PyAV baseline are those of `benchmarks/prepare_speed.py`, in one process per core;
the model is a `cign_analytic` of 36 classes that learned random tokens. The main rate excludes the
start of both. Other rows measure one decoding thread, whose predictions must be equal, and the
whole command against the whole processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from part import Found, Row, part

from cign.backbones.registry import load_backbone
from cign.inference import predict as predictor
from cign.learner import Learner
from cign.methods.phases import Phase, TrainingOptions
from cign.runs.training_data import token_shape
from cign.saved_model.folder import save_model
from cign.saved_model.model import Model

NUM_CLASSES = 36


def make_model(folder: Path) -> None:
    """Save a model of random classes."""
    from closed_form import flagship, made_up

    backbone = load_backbone("small")
    shape = token_shape(backbone)
    method = flagship(shape)
    rng = np.random.default_rng(0)
    phase = Phase(name="s", indices=np.arange(2), options=TrainingOptions(), updates=False)
    method.grow(NUM_CLASSES)
    for label in range(NUM_CLASSES):
        method.learn(made_up(shape, label, NUM_CLASSES, rng), phase)
    method.solve()
    model = Model(
        method=method.eval(),
        groups=(tuple(f"class {number}" for number in range(NUM_CLASSES)),),
        regime="frozen",
        backbone="small",
        fingerprint=backbone.fingerprint,
        spec=backbone.spec,
    )
    folder.mkdir()
    save_model(model, folder)


def time_command(model: Path, paths: list[Path]) -> float:
    """Seconds of the whole command."""
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "cign.cli.entry_point",
        "predict",
        str(model),
        *map(str, paths),
        "--json",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(options: argparse.Namespace) -> Found:
    from prepare_speed import make_clips, time_bare

    workers = len(os.sched_getaffinity(0))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        paths = make_clips(Path(folder) / "clips", options.clips)
        make_model(Path(folder) / "model")
        learner = Learner.load(Path(folder) / "model")
        list(learner.predict(paths[:1]))
        for _ in range(options.rounds):
            whole_s, work_s = time_bare(paths, workers)
            began = time.perf_counter()
            answers = list(learner.predict(paths))
            ours_s = time.perf_counter() - began
            assert all(answer.error is None for answer in answers)
            with mock.patch.object(predictor, "num_threads", return_value=1):
                began = time.perf_counter()
                assert list(learner.predict(paths)) == answers
                single_s = time.perf_counter() - began
            command_s = time_command(Path(folder) / "model", paths)
            found.append((ours_s, single_s, command_s, work_s, whole_s))
    ours, single, command, work, whole = (
        options.clips / statistics.median(column) for column in zip(*found, strict=True)
    )
    rows = [
        Row(what="clips/s of `predict` / of PyAV alone", ratio=ours / work, at_least=0.8),
        Row(what="the same with one decoding thread", ratio=single / work),
        Row(
            what=f"the whole command on {options.clips} clips / the whole processes",
            ratio=command / whole,
        ),
    ]
    table = (
        f"{options.clips} clips of 10 s, 640x360 H.264 with a key frame every 250 frames, AAC; "
        f"{workers} cores; median of {options.rounds} rounds: {ours:.1f} and {work:.1f} clips/s."
    )
    return Found(rows=rows, table=table)


if __name__ == "__main__":
    part(
        "Reading files: `predict` with the small encoders",
        measure,
        script=__file__,
        options={"clips": (24, "clips"), "rounds": (3, "timed rounds")},
    )
