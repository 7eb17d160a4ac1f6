"""Closed-form methods that learned clips of some classes, for tests of operations on their sums."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from cign.data.clips import Clip
from cign.data.media.decode import MediaSpec
from cign.methods.base import Batch
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips
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


def model_of(classes, seed=1, *, groups=None, options=None, kept=True, **setup):
    """A model of some classes, with a validation clip of each."""
    audio, visual, _ = clips(seed + 100, 1)
    labels = tuple((f"class {c}",) for c in clips(seed + 100, 1)[2].argmax(axis=1))
    rows = [row for row, (name,) in enumerate(labels) if int(name[-1]) in classes]
    names = tuple(f"class {c}" for c in classes)
    method = learned("cign_analytic", classes, [clips(seed)], options, **setup)
    if groups:
        method.class_counts = list(map(len, groups))
    return Model(
        method=method,
        groups=groups or (names,),
        regime="frozen",
        backbone="small",
        fingerprint="f",
        spec=MediaSpec(),
        kept=KeptClips(
            audio=torch.from_numpy(audio[rows]),
            visual=torch.from_numpy(visual[rows]),
            labels=tuple(labels[row] for row in rows),
        )
        if kept
        else None,
    )


def listed(row, *labels):
    """A training clip of a list."""
    return Clip(id=str(row), path=Path(str(row)), labels=labels, split="train")


class MoreClips:
    """Three clips of a new class, without a store."""

    def __init__(self, model):
        self.kept = self.validation = np.zeros(0, dtype=np.int64)
        self.source, self.learned = model.kept.source, np.arange(3)
        self.order = ("new",)
        self.clips = [listed(row, "new") for row in range(model.kept.num_clips)]
        self.hashes = hashes_of(range(model.kept.num_clips))
        self.notes, self.list_hash = (), "0"


def hashes_of(names):
    """A hash for each name."""
    digests = [hashlib.sha256(str(name).encode()).digest() for name in names]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
