"""Random numbers by place, not by history: each step draws from a stream of its own.

Seeding every step from (seed, task, phase, epoch, step) makes a resumed run draw what the
unbroken one would have drawn, with no generator state to save.
"""

from __future__ import annotations

import numpy as np
import torch


def stream(*key: int) -> np.random.Generator:
    """A NumPy generator for a key of non-negative integers; equal keys give equal streams."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))


def seed_torch(*key: int) -> None:
    """Seed torch's generators from a key of non-negative integers."""
    state = np.random.SeedSequence(list(key)).generate_state(2, np.uint32)
    torch.manual_seed(int(state[0]) << 31 ^ int(state[1]))
