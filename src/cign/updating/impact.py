"""Effect of added classes on accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.batches import ClipSource
from cign.data.tasks import IntArray
from cign.methods.base import Method
from cign.saved_model.validation_clips import KeptClips
from cign.training.arrival import ArrivalEstimate
from cign.training.scoring import score_clips

MODALITY = "audio_visual"
# Above this share a new class is reported to look like an old one; fewer clips or old classes say
# too little.
ALIKE_PERCENT = 80.0
ALIKE_LEAST_CLIPS, ALIKE_LEAST_CLASSES = 5, 3


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
class Alike:
    """A new class whose clips the model took for one old class before the addition.

    Attributes:
        new: The new class.
        old: The old class.
        percent: Percent of the new class's training clips that got the old class, audio-visual.
        num_clips: Number of its training clips.
    """

    new: str
    old: str
    percent: float
    num_clips: int

    def __str__(self) -> str:
        """One sentence with the remedy."""
        return (
            f"{self.new} looks like {self.old}: before, {self.percent:.1f} % of its "
            f"{self.num_clips} clips were taken for {self.old}; if they are one class, go back "
            f"with `cign versions`, and add the clips under the name {self.old}"
        )


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
        removed: Classes that lost their last clip by that, and were removed.
        alike: New classes that look like an old one, see `alike_classes`.
        seconds: Duration in seconds, including decoding and encoding.
        background: Number of clips with none of the classes.
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
    removed: tuple[str, ...] = ()
    alike: tuple[Alike, ...] = ()
    seconds: float = 0.0
    background: int = 0


def answers(method: Method, kept: KeptClips) -> NDArray[np.int64]:
    """The most probable class of each clip, audio-visual, shape [n]."""
    scores = score_clips(method, kept.source, np.arange(kept.num_clips))
    return np.asarray(scores[MODALITY].argmax(axis=1), dtype=np.int64)


def right(answered: NDArray[np.int64], kept: KeptClips, classes: tuple[str, ...]) -> float:
    """Percent of clips whose predicted class is among their labels."""
    pairs = zip(answered, kept.labels, strict=True)
    return _percent([classes[c] in names for c, names in pairs])


def alike_classes(
    before: Method,
    source: ClipSource,
    labels: Sequence[tuple[str, ...]],
    learned: IntArray,
    old: Sequence[str],
    new: Sequence[str],
) -> tuple[Alike, ...]:
    """Find new classes most of whose clips the model takes for a single old class.

    A class that was learned before under another name is found in this way; a class that is only
    similar may be reported, too. The limits are our choice (``python benchmarks/alike.py``).

    Args:
        before: The state before the addition.
        source: Reads the clips.
        labels: Class names of all clips.
        learned: Indices of the training clips.
        old: Classes of ``before``, in its order.
        new: The new classes.
    """
    if len(old) < ALIKE_LEAST_CLASSES:
        return ()
    found = []
    for name in new:
        rows = np.array([row for row in learned.tolist() if name in labels[row]], dtype=np.int64)
        if len(rows) < ALIKE_LEAST_CLIPS:
            continue
        answered = score_clips(before, source, rows)[MODALITY].argmax(axis=1)
        counts = np.bincount(answered, minlength=len(old))
        percent = float(100.0 * counts.max() / len(rows))
        if percent > ALIKE_PERCENT:
            closest = old[int(counts.argmax())]
            found.append(Alike(new=name, old=closest, percent=percent, num_clips=len(rows)))
    return tuple(found)


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
