"""Random numbers seeded by position: each step has its own stream.

Seeding every step from (seed, task, phase, epoch, step) gives a resumed run the same random numbers
as an uninterrupted one, without saving generator states.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cign.errors import RunError


def stream(*key: int) -> np.random.Generator:
    """A NumPy generator for a key of non-negative integers; equal keys give equal streams."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))


def seed_torch(*key: int) -> None:
    """Seed torch's generators from a key of non-negative integers."""
    state = np.random.SeedSequence(list(key)).generate_state(2, np.uint32)
    seed = int(state[0]) << 31 ^ int(state[1])
    # torch.manual_seed also visits devices that are not in use, which takes longer than the rest.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def per_clip(draw: Callable[[int], Tensor], num_clips: int) -> Tensor:
    """Draw random numbers for the clips of a step.

    All random numbers of a training step are drawn by this function. Where several processes share
    a batch, each draws for the whole batch and takes the rows of its clips, so that a clip's random
    numbers do not depend on the number of processes.

    Args:
        draw: Draws for a number of clips, the first dimension of its result.
        num_clips: Number of clips at hand.

    Returns:
        The random numbers, shape [num_clips, ...].

    Raises:
        RunError: If ``num_clips`` is not the number of this process's clips, or something else
            drew from torch's generators in the step.
    """
    if _shared is None:
        return draw(num_clips)
    return _shared.draw(draw, num_clips)


@contextlib.contextmanager
def rows_of_batch(rows: NDArray[np.int64], total: int) -> Iterator[None]:
    """Context of a step on some clips of a batch; see `per_clip`.

    Args:
        rows: Positions of the clips in the batch, shape [n].
        total: Number of clips in the batch.

    Raises:
        RunError: If random numbers were drawn, but not by `per_clip`.
    """
    global _shared  # as torch's default generators are
    _shared = _Shared(torch.from_numpy(rows), total)
    try:
        yield
        _shared.check()
    finally:
        _shared = None


class _Shared:
    """Random numbers of a step on some clips of a batch."""

    def __init__(self, rows: Tensor, total: int) -> None:
        self._rows, self._total = rows, total
        self._states = _generator_states()

    def draw(self, draw: Callable[[int], Tensor], num_clips: int) -> Tensor:
        if num_clips != len(self._rows):
            raise RunError(
                "plugin-contract",
                f"random numbers of {num_clips} clips are drawn in a step on {len(self._rows)}",
            )
        self.check()
        whole = draw(self._total)
        self._states = _generator_states()
        return whole[self._rows.to(whole.device)]

    def check(self) -> None:
        """Check that torch's generators are as the last draw left them."""
        if not all(map(torch.equal, self._states, _generator_states())):
            raise RunError(
                "plugin-contract",
                "a method drew random numbers that differ between processes: draw them with "
                "cign.utils.seeding.per_clip, or train in one process",
            )


_shared: _Shared | None = None


def _generator_states() -> list[Tensor]:
    devices = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *devices]
