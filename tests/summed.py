"""Closed-form methods that learned clips of some classes, for tests of operations on their sums."""

import numpy as np
import torch

from cign.methods.base import Batch
from toy import FIXED, toy_method, toy_tokens

NUM_CLASSES = 5


def clips(seed, per_class=7, *, multi_label=False, silent=False):
    """Tokens and multi-hot labels over all classes; some clips may be silent or have two labels."""
    labels, audio, visual = toy_tokens(NUM_CLASSES, per_class, seed=seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    labels, audio, visual = labels[order], audio[order], visual[order]
    targets = np.zeros((len(labels), NUM_CLASSES), dtype=bool)
    targets[np.arange(len(labels)), labels] = True
    if multi_label:
        targets[np.arange(len(labels)), rng.integers(0, NUM_CLASSES, len(labels))] = True
    if silent:
        audio[::3] = 0
    return audio, visual, targets


def batch(audio, visual, targets):
    count = len(targets)
    return Batch(
        audio=torch.from_numpy(audio),
        visual=torch.from_numpy(visual),
        targets=torch.from_numpy(targets),
        from_memory=torch.zeros(count, dtype=torch.bool),
        indices=np.arange(count),
    )


def learned(name, classes, parts, options=None, **setup):
    """A method that learned the clips of some classes, given as tokens and labels of all."""
    method = toy_method(name, {**FIXED[name], "width": 30, **(options or {})}, **setup).eval()
    method.grow(len(classes))
    for audio, visual, targets in parts:
        targets = targets[:, list(classes)]
        rows = targets.any(axis=1)
        method.absorb(batch(audio[rows], visual[rows], targets[rows]))
    method.solve()
    return method


def relative(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max())
