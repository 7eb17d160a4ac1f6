"""Runs of every method on the toy problem, made once for all tests of the traps."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import numpy as np
import torch

from cign.methods import METHODS
from cign.metrics.predictions import Predictions
from cign.training.loop import Loop
from toy import quick_options, toy_loop

NAMES = list(METHODS)
WITH_PROMPTS = [name for name in NAMES if METHODS[name].needs_blocks]
WITH_MEMORY = [name for name in NAMES if METHODS[name].uses_memory]


def memory_of(name: str) -> str:
    """A budget of two clips a class at the end, for methods that keep clips."""
    return "12" if METHODS[name].uses_memory else "0"


def make(name: str, folder: Path | None = None, **kwargs) -> Loop:
    """Three tasks of two classes, not run yet."""
    options = quick_options(name)
    given = {"memory": memory_of(name), "folder": folder, "per_class": 9, **kwargs}
    return toy_loop(name, options=options, **given)


@cache
def learned(name: str) -> Loop:
    """After three tasks; tests leave it as it is."""
    loop = make(name)
    loop.run()
    loop.method.eval()
    return loop


def again(name: str, folder: Path, **kwargs) -> Loop:
    """A loop that goes on from what a folder holds, as a new process would."""
    loop = make(name, folder, **kwargs)
    loop.predictions = Predictions.load(loop.predictions_path)
    torch.manual_seed(12345)  # what went on before must not matter
    loop.resume()
    return loop


def state_of(method) -> dict[str, torch.Tensor]:
    """A copy of a method's state."""
    return copy.deepcopy(dict(method.state_dict()))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two states are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def assert_same_results(loop: Loop, expected: Loop) -> None:
    """State, losses, exemplars and scores are equal to the bit."""
    ours, theirs = loop.method.state_dict(), expected.method.state_dict()
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key
    assert loop.losses == expected.losses
    assert loop.memory.state() == expected.memory.state()
    for scores, wanted in zip(loop.predictions.scores, expected.predictions.scores, strict=True):
        for modality, value in scores.items():
            np.testing.assert_array_equal(value, wanted[modality])
