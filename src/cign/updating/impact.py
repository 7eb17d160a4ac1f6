"""What an addition is found to cost and to bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.methods.base import Method
from cign.saved_model.validation_clips import KeptClips
from cign.training.scoring import score_clips

MODALITY = "audio_visual"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a change does to the answers on clips of old classes; percent of those clips.

    Attributes:
        num_clips: Clips that this rests on, none of which was ever learned from.
        before: Audio-visual answers that were right.
        after: Those that are right now.
        to_new: Answers that are now one of the new classes.
        to_old: Answers that are now another one of the old classes.
    """

    num_clips: int
    before: float
    after: float
    to_new: float
    to_old: float


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What was added to a model.

    Attributes:
        new: Clips learned of each new class.
        known: Clips learned of each class that was known before.
        notes: What was left out, and why; one sentence each.
        cost: On the clips kept before; None without any.
        num_new_kept: Validation clips of the added classes that were not learned from.
        new_accuracy: Percent of those that are answered right; None without any.
        num_kept: Clips kept with the model from now on.
        kept_bytes: What they occupy.
        state_bytes: What the statistics occupy.
        seconds: What it took, decoding and tokens included.
    """

    new: dict[str, int]
    known: dict[str, int]
    notes: tuple[str, ...]
    cost: Cost | None
    num_new_kept: int
    new_accuracy: float | None
    num_kept: int
    kept_bytes: int
    state_bytes: int
    seconds: float = 0.0


def answers(method: Method, kept: KeptClips) -> NDArray[np.int64]:
    """The class that each clip's audio-visual reading holds most probable, shape [n]."""
    scores = score_clips(method, kept.source, np.arange(kept.num_clips))
    return np.asarray(scores[MODALITY].argmax(axis=1), dtype=np.int64)


def right(answered: NDArray[np.int64], kept: KeptClips, classes: tuple[str, ...]) -> float:
    """Percent of clips whose answer is among their labels."""
    pairs = zip(answered, kept.labels, strict=True)
    return _percent([classes[c] in names for c, names in pairs])


def measure_cost(
    before: Method, after: Method, kept: KeptClips | None, classes: tuple[str, ...]
) -> Cost | None:
    """Compare two states of a model on clips of the classes that the earlier one knows.

    Args:
        before: The earlier state.
        after: The later one; its classes begin with the earlier one's.
        kept: The clips.
        classes: Those of the later state.
    """
    if kept is None:
        return None
    was, is_now = answers(before, kept), answers(after, kept)
    is_new = is_now >= before.num_classes
    return Cost(
        num_clips=kept.num_clips,
        before=right(was, kept, classes),
        after=right(is_now, kept, classes),
        to_new=_percent(is_new),
        to_old=_percent(~is_new & (is_now != was)),
    )


def _percent(hits: Any) -> float:
    return float(100.0 * np.mean(np.asarray(hits, dtype=np.float64)))
