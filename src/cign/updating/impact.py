"""Effect of added classes on accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.methods.base import Method
from cign.saved_model.validation_clips import KeptClips
from cign.training.arrival import ArrivalEstimate
from cign.training.scoring import score_clips

MODALITY = "audio_visual"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Effect of a change on audio-visual predictions for old classes, in percent of clips.

    Attributes:
        num_clips: Number of validation clips, none of which was used for training.
        before: Accuracy before the change.
        after: Accuracy after the change.
        to_new: Predictions that changed to a new class.
        to_old: Predictions that changed to another old class.
    """

    num_clips: int
    before: float
    after: float
    to_new: float
    to_old: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Audio-visual accuracy on validation clips before and after a change, in percent.

    Attributes:
        num_clips: Number of validation clips.
        before: Accuracy before the change, over the classes known then.
        after: Accuracy after the change, over the classes known now.
    """

    num_clips: int
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What was added to a model.

    Attributes:
        new: Number of training clips of each new class.
        known: Number of training clips of each class that was known before.
        notes: What was left out, and why; one sentence each.
        cost: Effect on the validation clips stored before; None without any.
        num_new_kept: Number of validation clips of the added classes, not used for training.
        new_accuracy: Accuracy on those in percent; None without any.
        num_kept: Number of validation clips now stored with the model.
        kept_bytes: Size of those clips in bytes.
        state_bytes: Size of the statistics in bytes.
        estimate: Leave-one-out accuracy of the added clips; None if the method has none.
        num_replaced: Number of clips whose earlier labels were forgotten.
        seconds: Duration in seconds, including decoding and encoding.
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
    estimate: ArrivalEstimate | None = None
    num_replaced: int = 0
    seconds: float = 0.0


def answers(method: Method, kept: KeptClips) -> NDArray[np.int64]:
    """The most probable class of each clip, audio-visual, shape [n]."""
    scores = score_clips(method, kept.source, np.arange(kept.num_clips))
    return np.asarray(scores[MODALITY].argmax(axis=1), dtype=np.int64)


def right(answered: NDArray[np.int64], kept: KeptClips, classes: tuple[str, ...]) -> float:
    """Percent of clips whose predicted class is among their labels."""
    pairs = zip(answered, kept.labels, strict=True)
    return _percent([classes[c] in names for c, names in pairs])


def measure_cost(
    before: Method, after: Method, kept: KeptClips | None, classes: tuple[str, ...]
) -> Cost | None:
    """Compare two states of a model on clips of the classes that both know.

    Args:
        before: The earlier state.
        after: The later state; its classes start with those of the earlier one.
        kept: The validation clips.
        classes: Classes of the later state.
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


def measure_effect(
    before: tuple[Method, tuple[str, ...]], after: tuple[Method, tuple[str, ...]], kept: KeptClips
) -> Effect:
    """Measure the accuracy before and after a change.

    Args:
        before: The earlier state and its classes.
        after: The later state and its classes, in any order.
        kept: The validation clips.
    """
    was, is_now = (right(answers(method, kept), kept, names) for method, names in (before, after))
    return Effect(num_clips=kept.num_clips, before=was, after=is_now)


def _percent(hits: Any) -> float:
    return float(100.0 * np.mean(np.asarray(hits, dtype=np.float64)))
