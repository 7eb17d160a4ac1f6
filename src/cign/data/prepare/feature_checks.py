"""Check precomputed features before anything is written: finite, in range, not constant.

Legend: N clips, T tokens of a clip, D width of a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.formats.features.rows import Rows
from cign.errors import InputError

Halves = NDArray[np.float16]

_SMALLEST = float(np.finfo(np.float16).smallest_normal)
_LARGEST = float(np.finfo(np.float16).max)
_BLOCK_BYTES = 32 * 2**20


@dataclass
class FeatureCheck:
    """What is wrong with the features of one modality; `add` looks at all of them, in blocks.

    Tokens are stored as float16. Features are never scaled: the scale would differ between stores
    of the same encoders.

    Args:
        what: The features, for error messages.
        ids: Ids of all clips.
    """

    what: str
    ids: list[str]

    def __post_init__(self) -> None:
        self._odd: list[str] = []
        self._largest = 0.0
        self._num_present = 0
        self._low: Halves | None = None
        self._high: Halves | None = None

    def add(self, first: int, values: NDArray[np.floating[Any]]) -> Halves:
        """Look at the features of consecutive clips and return them in half precision.

        Args:
            first: Position of the first clip.
            values: Shape [n, T, D].
        """
        is_finite = np.isfinite(values).all(axis=(1, 2))
        self._odd += [self.ids[first + i] for i in np.flatnonzero(~is_finite)]
        values = values[is_finite] if not is_finite.all() else values
        if len(values):
            self._largest = max(self._largest, float(np.abs(values).max()))
        halves = to_half(values)
        present = halves[halves.any(axis=(1, 2))]
        self._num_present += len(present)
        if len(present):
            low, high = present.min(axis=0), present.max(axis=0)
            self._low = low if self._low is None else np.minimum(self._low, low)
            self._high = high if self._high is None else np.maximum(self._high, high)
        return halves

    def finish_values(self) -> None:
        """Check the values by themselves, whatever the number of clips.

        Raises:
            InputError: If they are not finite or do not fit into float16.
        """
        if self._odd:
            raise InputError(
                "bad-list",
                f"{self.what} has NaN or infinite values in {len(self._odd)} of {len(self.ids)} "
                f"clips, for example {self._odd[0]}: replace them, or leave these clips out",
            )
        if self._largest > _LARGEST:
            raise InputError(
                "bad-list",
                f"{self.what} has values up to {self._largest:.3g}, but tokens are stored as "
                f"float16, up to {_LARGEST:.0f}: divide the features of these encoders by the same "
                "number in every store",
            )
        if 0 < self._largest < _SMALLEST:
            raise InputError(
                "bad-list",
                f"{self.what} has values up to {self._largest:.3g}, too small for float16, in "
                "which tokens are stored: multiply the features of these encoders by the same "
                "number in every store",
            )

    def finish(self) -> tuple[str, ...]:
        """Return notes on the features.

        Raises:
            InputError: If they cannot be used.
        """
        self.finish_values()
        if self._low is None or self._high is None or self._num_present < 2:
            return ()
        is_constant = (self._low == self._high).all(axis=0)
        if is_constant.all():
            raise InputError(
                "bad-list",
                f"{self.what} has the same values for all {self._num_present} clips: check how "
                "they were computed; for clips without this modality give zeros",
            )
        if number := int(is_constant.sum()):
            return (f"{number} of {len(is_constant)} dimensions of {self.what} are constant",)
        return ()


def to_half(values: NDArray[np.floating[Any]]) -> Halves:
    """Round to half precision; larger values become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def blocks(num_clips: int, *rows: Rows) -> Iterator[tuple[int, int]]:
    """Yield first and last position, exclusive, of blocks of clips that fit into memory."""
    each = sum(8 * one.shape[1] * one.shape[2] for one in rows)
    size = max(1, _BLOCK_BYTES // each)
    for start in range(0, num_clips, size):
        yield start, min(start + size, num_clips)
