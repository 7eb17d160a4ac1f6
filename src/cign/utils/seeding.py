"""Random numbers seeded by position: each step has its own stream.

Seeding every step from (seed, task, phase, epoch, step) gives a resumed run the same random numbers
as an uninterrupted one, without saving generator states.
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
