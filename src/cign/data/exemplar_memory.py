"""Exemplar memory: lists of clip indices within a budget; clips are never copied."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cign.data.tasks import IntArray
from cign.errors import InputError, one_of
from cign.utils.seeding import stream

Selection = Literal["herding", "random"]
FloatArray = NDArray[np.float32]
ROUNDING = 1e-12  # of squared distances between means of vectors of length 1


@dataclass(frozen=True)
class MemoryBudget:
    """Maximum number of exemplars in memory.

    Attributes:
        amount: A number of clips or of bytes (0: no exemplars).
        unit: ``total`` clips, clips per ``class``, or ``bytes``.
    """

    amount: int
    unit: Literal["total", "class", "bytes"] = "total"

    @classmethod
    def parse(cls, text: str) -> MemoryBudget:
        """Parse ``120``, ``20/class`` or ``64MB``.

        Raises:
            InputError: If the text has another form.
        """
        match = re.fullmatch(r"\s*(\d+)\s*(/class|[kmg]?b)?\s*", str(text), re.IGNORECASE)
        if match is None:
            raise InputError(
                "bad-value",
                f"memory {text!r} is invalid: use clips in total (120), "
                "per class (20/class) or bytes (64MB)",
            )
        amount, unit = int(match[1]), (match[2] or "").lower()
        if unit == "/class":
            return cls(amount, "class")
        if unit:
            scale = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}[unit]
            return cls(amount * scale, "bytes")
        return cls(amount)

    def __str__(self) -> str:
        return {"total": f"{self.amount}", "class": f"{self.amount}/class"}.get(
            self.unit, f"{self.amount}B"
        )

    def quotas(self, num_classes: int, bytes_per_clip: int) -> IntArray:
        """Return the number of exemplars per class for ``num_classes`` known classes, shape [C].

        A total is divided evenly; the first classes get one more if it is not divisible.

        Raises:
            InputError: If the budget leaves some class without a clip.
        """
        if self.amount == 0:
            return np.zeros(num_classes, dtype=np.int64)
        if self.unit == "class":
            return np.full(num_classes, self.amount, dtype=np.int64)
        total = self.amount // bytes_per_clip if self.unit == "bytes" else self.amount
        if total < num_classes:
            raise InputError(
                "bad-value",
                f"a memory of {self} holds {total} clips, fewer than one for each of "
                f"{num_classes} classes: use at least "
                f"{num_classes if self.unit == 'total' else f'{num_classes * bytes_per_clip}B'}, "
                "or 0",
            )
        size, rest = divmod(total, num_classes)
        return np.array([size + (c < rest) for c in range(num_classes)], dtype=np.int64)


def herding_order(features: FloatArray, count: int | None = None) -> IntArray:
    """Order samples so that the mean of each prefix is as close as possible to the overall mean.

    iCaRL (Rebuffi et al. 2017), algorithm 4: features are L2-normalised, then selected greedily.
    The squared distance after adding x to k - 1 samples with sum s is, up to a constant,
    (|x|^2 + 2 x.s) / k^2 - 2 x.m / k, so that each pick takes one product.

    Args:
        features: Shape [N, D].
        count: Number of samples to select; None orders all.

    Returns:
        Positions of the first ``count`` samples; of equally good ones the lowest comes first.
    """
    x = features.astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    squares = (x**2).sum(axis=1)
    with_mean = x @ x.mean(axis=0)
    with_sum = np.zeros(len(x))
    chosen: list[int] = []
    for k in range(1, 1 + min(len(x), len(x) if count is None else count)):
        distance = (squares + 2.0 * with_sum) / k**2 - 2.0 * with_mean / k
        distance[chosen] = np.inf
        # Equal up to rounding counts as equal: equal rows may round differently in a product.
        best = int(np.argmax(distance <= distance.min() + ROUNDING))
        chosen.append(best)
        with_sum += x @ x[best]
    return np.array(chosen, dtype=np.int64)


@dataclass
class ExemplarMemory:
    """The clips of old classes that a run may replay.

    Attributes:
        budget: Maximum number of exemplars.
        selection: ``herding`` on the method's features, or ``random``.
        seed: Seed of the random selection.
        by_class: The exemplars of each known class, in order of preference.
    """

    budget: MemoryBudget
    selection: Selection = "herding"
    seed: int = 0
    by_class: dict[int, IntArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.selection not in ("herding", "random"):
            raise one_of(self.selection, ("herding", "random"), "exemplar selection")

    @property
    def indices(self) -> IntArray:
        """All exemplars, ordered by class, shape [M]."""
        parts = [self.by_class[c] for c in sorted(self.by_class)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def update(
        self,
        candidates: dict[int, IntArray],
        num_classes: int,
        bytes_per_clip: int,
        features: Callable[[IntArray], FloatArray],
    ) -> None:
        """Select exemplars of the new classes, and remove exemplars of old classes as needed.

        The exemplars of an old class are not chosen anew; if they are fewer than its share of the
        budget, its candidates fill the rest (ours).

        Args:
            candidates: The training clips (clip indices) of each new class, and those of old
                classes that arrived again. With several labels per clip a class may have none,
                if all of its clips count for other classes; it gets no exemplars of its own.
            num_classes: Number of classes known now; they share the budget.
            bytes_per_clip: Bytes of one clip, for budgets in bytes.
            features: Returns the features [N, D] of clips by index; used only by herding.
        """
        if self.budget.amount == 0:
            return
        quotas = self.budget.quotas(num_classes, bytes_per_clip)
        for c, clips in sorted(candidates.items()):
            kept = self.by_class.get(c, clips[:0])
            room = int(quotas[c]) - len(kept)
            if room <= 0 or len(clips) == 0:
                continue
            if self.selection == "herding":
                order = herding_order(features(clips), room)
            else:
                order = stream(self.seed, 0xE8E, c).permutation(len(clips)).astype(np.int64)
            self.by_class[c] = np.concatenate([kept, clips[order]])
        # Each list is in order of preference, so exemplars are removed at its end.
        self.by_class = {c: clips[: quotas[c]] for c, clips in self.by_class.items()}

    def capacity(self, num_classes: int, bytes_per_clip: int) -> int:
        """Return the number of clips within the budget for ``num_classes`` known classes.

        Raises:
            InputError: If it is less than one clip per class.
        """
        return int(self.budget.quotas(num_classes, bytes_per_clip).sum())

    def replace(self, clips: IntArray, classes: IntArray) -> None:
        """Replace all exemplars, for methods with their own selection rule.

        Args:
            clips: Clip indices, shape [M], at most `capacity` of them.
            classes: The class that each clip is an exemplar of, shape [M].
        """
        self.by_class = {int(c): clips[classes == c] for c in np.unique(classes)}

    def state(self) -> dict[str, Any]:
        """Return the lists as plain values, for the checkpoint."""
        return {"by_class": {c: clips.tolist() for c, clips in self.by_class.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the lists from a checkpoint."""
        self.by_class = {
            int(c): np.array(clips, dtype=np.int64) for c, clips in state["by_class"].items()
        }
