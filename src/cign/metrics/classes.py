"""Results per class and per clip after the last task: recall, confusions, wrong predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cign.metrics.breakdown import confusion
from cign.metrics.incremental import (
    class_recall,
    class_targets,
    clip_tasks,
    is_multi_label,
    predicted_classes,
)
from cign.metrics.predictions import Predictions

# Quantile of the standard normal distribution for a two-sided interval of 95 %.
_Z_95 = 1.959963984540054
MAX_CONFUSIONS = 8


@dataclass(frozen=True, kw_only=True)
class ClassRecall:
    """Result of one class.

    Attributes:
        name: Name of the class.
        num_clips: Number of its test clips.
        recall: Recall in percent, or average precision if clips have several labels. None without
            test clips.
        low: Lower end of the 95 % interval of recall, in percent; None without test clips and
            for average precisions.
        high: Upper end.
    """

    name: str
    num_clips: int
    recall: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Test clips of one class that were predicted as another.

    Attributes:
        true: The true class.
        predicted: The predicted class.
        count: Number of such clips.
        num_clips: Number of test clips of the true class.
    """

    true: str
    predicted: str
    count: int
    num_clips: int

    def __str__(self) -> str:
        return f"{self.true} was predicted as {self.predicted} in {self.share}"

    @property
    def share(self) -> str:
        """Number and share of the clips as text: "7 of 30 clips (23 %)"."""
        clips = "clip" if self.num_clips == 1 else "clips"
        percent = 100 * self.count / self.num_clips
        return f"{self.count} of {self.num_clips} {clips} ({percent:.0f} %)"


@dataclass(frozen=True, kw_only=True)
class WrongClip:
    """A test clip whose predicted class is not one of its labels.

    Attributes:
        row: Its row in the predictions.
        clip: Its id.
        labels: Its labels.
        predicted: The predicted class.
        score: Score of the predicted class.
    """

    row: int
    clip: str
    labels: tuple[str, ...]
    predicted: str
    score: float


def wilson_interval(num_right: int, num_clips: int) -> tuple[float, float] | None:
    """Wilson's 95 % score interval of a proportion (Wilson 1927, JASA 22).

    Unlike the normal approximation, the interval stays within [0, 1] and has a positive width even
    if all or none of a few clips are correct.

    Args:
        num_right: Number of successes.
        num_clips: Number of trials.

    Returns:
        Both ends in [0, 1]; None without trials.
    """
    if num_clips == 0:
        return None
    share, z2 = num_right / num_clips, _Z_95**2
    scale = 1 + z2 / num_clips
    centre = (share + z2 / (2 * num_clips)) / scale
    spread = share * (1 - share) / num_clips + z2 / (4 * num_clips**2)
    half = _Z_95 / scale * math.sqrt(spread)
    low = 0.0 if num_right == 0 else max(0.0, centre - half)
    high = 1.0 if num_right == num_clips else min(1.0, centre + half)
    return low, high


def percent_interval(percent: float | None, num_clips: int) -> tuple[float, float] | None:
    """The 95 % interval, in percent, of a share of clips given in percent.

    Returns:
        Both ends; None if the share is None or there are no clips.
    """
    if percent is None:
        return None
    found = wilson_interval(round(percent * num_clips / 100), num_clips)
    return None if found is None else (100 * found[0], 100 * found[1])


def num_tested(predictions: Predictions) -> int:
    """Number of test clips of the classes learned so far."""
    tasks_N = clip_tasks(predictions)
    return int(((tasks_N >= 0) & (tasks_N < predictions.num_tasks_done)).sum())


def class_recalls(predictions: Predictions, modality: str) -> list[ClassRecall]:
    """Recall of each class with its interval, in the order of learning.

    Args:
        predictions: With at least one task learned.
        modality: One of ``MODALITIES``.
    """
    values = 100 * class_recall(predictions, modality)
    counts = class_targets(predictions).sum(axis=0)
    has_interval = not is_multi_label(predictions)
    result = []
    for name, value, count in zip(
        predictions.class_names[: len(values)], values, counts[: len(values)], strict=True
    ):
        recall = None if np.isnan(value) else float(value)
        ends = percent_interval(recall, int(count)) if has_interval else None
        low, high = ends or (None, None)
        result.append(
            ClassRecall(name=name, num_clips=int(count), recall=recall, low=low, high=high)
        )
    return result


def worst_confusions(predictions: Predictions, most: int = MAX_CONFUSIONS) -> list[Confusion]:
    """The most frequent audio-visual confusions; ties: the smaller true class first.

    Args:
        predictions: Predictions of a run or an evaluation.
        most: Maximum number of confusions to return.

    Returns:
        An empty list before the first task and if clips have several labels.
    """
    table: Any = confusion(predictions, "audio_visual")
    if table is None:
        return []
    names, totals = predictions.class_names, table.sum(axis=1)
    np.fill_diagonal(table, 0)
    pairs = sorted(map(tuple, np.argwhere(table)), key=lambda p: (-table[p], totals[p[0]], p))
    return [
        Confusion(
            true=names[i], predicted=names[j], count=int(table[i, j]), num_clips=int(totals[i])
        )
        for i, j in pairs[:most]
    ]


def wrong_clips(predictions: Predictions) -> list[WrongClip]:
    """The test clips whose audio-visual prediction is wrong, sorted by descending score.

    Clips without a label among the learned classes are excluded.
    """
    last = predictions.num_tasks_done - 1
    if last < 0:
        return []
    predicted_N = predicted_classes(predictions, last, "audio_visual")
    tasks_N = clip_tasks(predictions)
    targets_NC = class_targets(predictions)
    right_N = targets_NC[np.arange(predictions.num_clips), predicted_N]
    rows = np.flatnonzero((tasks_N >= 0) & (tasks_N <= last) & ~right_N)
    scores_N = predictions.scores[last]["audio_visual"][rows, predicted_N[rows]]
    return [
        WrongClip(
            row=int(row),
            clip=predictions.clip_ids[row],
            labels=predictions.labels[row],
            predicted=predictions.class_names[predicted_N[row]],
            score=float(score),
        )
        for row, score in ((rows[i], scores_N[i]) for i in np.argsort(-scores_N, kind="stable"))
    ]


def untested_classes(predictions: Predictions) -> list[str]:
    """The classes learned so far that have no test clip."""
    num_seen = predictions.num_seen(predictions.num_tasks_done - 1)
    counts = class_targets(predictions).sum(axis=0)[:num_seen]
    return [predictions.class_names[i] for i in np.flatnonzero(counts == 0)]
