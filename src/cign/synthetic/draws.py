"""Random draws that are bit-exact on every machine and with every NumPy version.

Only `Generator.random` of PCG64 is used, and all other draws are derived from it here. NumPy
guarantees the stream of a bit generator, but not that of `normal`, `integers` or `permutation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class Draws:
    """A stream of draws, addressed by integers.

    Args:
        keys: Non-negative integers that identify the stream, for example purpose, dataset, class.
    """

    def __init__(self, *keys: int) -> None:
        seeds = np.random.SeedSequence(list(keys))
        self._generator = np.random.Generator(np.random.PCG64(seeds))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw one number between ``low`` and ``high``."""
        return low + (high - low) * float(self._generator.random())

    def log_uniform(self, low: float, high: float) -> float:
        """Draw one positive number whose logarithm is uniform."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def chance(self, probability: float) -> bool:
        """Return true with the given probability."""
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """Draw an integer from ``low`` to ``high``, both included."""
        return low + int(self.uniform() * (high - low + 1))

    def pick(self, items: Sequence[Item]) -> Item:
        """Draw one of the items."""
        return items[self.integer(0, len(items) - 1)]

    def order(self, length: int) -> list[int]:
        """Draw a permutation of ``range(length)``."""
        keys = self._generator.random(length)
        return [int(i) for i in np.argsort(keys, kind="stable")]

    def array(self, *shape: int, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """Draw an array of uniform numbers."""
        return low + (high - low) * self._generator.random(shape)

    def noise(self, *shape: int) -> NDArray[np.float32]:
        """Draw white noise of unit variance (uniform, so that no libm is involved)."""
        scale = np.float32(math.sqrt(12.0))
        noise: NDArray[np.float32] = self._generator.random(shape).astype(np.float32)
        noise -= np.float32(0.5)
        noise *= scale
        return noise
