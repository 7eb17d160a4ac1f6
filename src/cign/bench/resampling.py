"""Bootstrap of a run's metrics over its test clips.

Each draw takes N of the N clips with replacement, and the metrics are recomputed on the drawn
clips. All runs evaluated on the same clips use the same draws, so that differences between runs
are paired draw by draw.

Legend: N clips of the run's classes; R draws; T tasks; C classes learned so far; 9 numbers, as in
`NUMBERS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cign.metrics.incremental import (
    class_targets,
    clip_tasks,
    is_multi_label,
    predicted_classes,
    task_of_class,
)
from cign.metrics.predictions import Predictions
from cign.utils.seeding import stream
from cign.vocabulary import MODALITIES

NUM_DRAWS = 10_000
METRICS = ("last", "average", "forgetting")
NUMBERS = tuple(f"{metric}_{modality}" for metric in METRICS for modality in MODALITIES)

Floats = npt.NDArray[np.floating[Any]]
_CHUNK = 250  # draws at a time: their counts fit into the processor's cache
_KEY = 0xC11B


def resampled_numbers(
    predictions: Predictions, list_hash: str, num_draws: int = NUM_DRAWS
) -> npt.NDArray[np.float32]:
    """The metrics `NUMBERS` of a finished run on resampled test clips.

    Args:
        predictions: Of the run.
        list_hash: Hash of the test clips, in hexadecimal; together with the number of clips it
            seeds the draws.
        num_draws: R.

    Returns:
        Percent, shape [9, R]; NaN where undefined.
    """
    rows = np.flatnonzero(clip_tasks(predictions) >= 0)
    measure = _Precisions if is_multi_label(predictions) else _Accuracies
    result = np.full((len(NUMBERS), num_draws), np.nan, dtype=np.float32)
    if len(rows) == 0:
        return result
    tables = measure(predictions, rows)
    done = 0
    for counts_NR in clip_counts(len(rows), num_draws, int(list_hash[:16] or "0", 16)):
        stop = done + counts_NR.shape[1]
        for i, modality in enumerate(MODALITIES):
            a_RTT, seen_RT = tables(counts_NR, modality)
            for j, values in enumerate(_named(a_RTT, seen_RT)):
                result[j * len(MODALITIES) + i, done:stop] = 100 * values
        done = stop
    return result


def clip_counts(num_clips: int, num_draws: int, key: int) -> Iterator[npt.NDArray[np.float32]]:
    """Number of times each clip is drawn: float32 [N, r] for r draws at a time, R in total."""
    rng = stream(key, num_clips, _KEY)
    for start in range(0, num_draws, _CHUNK):
        size = min(_CHUNK, num_draws - start)
        drawn = rng.integers(num_clips, size=(size, num_clips))
        drawn *= size
        drawn += np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=num_clips * size)
        yield counts.reshape(num_clips, size).astype(np.float32)


class _Accuracies:
    """Accuracies a(k,j) and A_k of weighted clips."""

    def __init__(self, predictions: Predictions, rows: npt.NDArray[np.int64]) -> None:
        self.num_tasks = predictions.num_tasks_done
        tasks_N = clip_tasks(predictions)[rows]
        targets_NC = class_targets(predictions)[rows]
        self.of_task = [np.flatnonzero(tasks_N == j) for j in range(self.num_tasks)]
        self.right: dict[str, npt.NDArray[np.float32]] = {}
        for modality in MODALITIES:
            chosen = [predicted_classes(predictions, k, modality) for k in range(self.num_tasks)]
            right = [targets_NC[np.arange(len(rows)), c[rows]] for c in chosen]
            self.right[modality] = np.asarray(right, dtype=np.float32)  # [T, N]

    def __call__(self, counts_NR: Floats, modality: str) -> tuple[Floats, Floats]:
        """a(k,j), shape [R, T, T], and A_k, shape [R, T], in 0..1."""
        num_draws = counts_NR.shape[1]
        hits = np.zeros((num_draws, self.num_tasks, self.num_tasks))
        totals = np.zeros((num_draws, self.num_tasks))
        for j, clips in enumerate(self.of_task):
            counts = counts_NR[clips]
            hits[:, j:, j] = (self.right[modality][j:, clips] @ counts).T
            totals[:, j] = counts.sum(axis=0)
        lower = np.tril(np.ones((self.num_tasks, self.num_tasks), dtype=bool))
        with np.errstate(invalid="ignore", divide="ignore"):
            a = np.where(lower, hits / totals[:, None, :], np.nan)
            seen = hits.sum(axis=2) / totals.cumsum(axis=1)
        return a, seen


class _Precisions:
    """Mean average precisions of weighted clips."""

    def __init__(self, predictions: Predictions, rows: npt.NDArray[np.int64]) -> None:
        self.num_tasks = predictions.num_tasks_done
        self.task_of_class = task_of_class(predictions)
        targets_NC = class_targets(predictions)[rows]
        self.classes: dict[tuple[str, int], list[_RankedClass | None]] = {}
        for k in range(self.num_tasks):
            targets = targets_NC[:, : predictions.num_seen(k)]
            shown = np.flatnonzero(targets.any(axis=1))
            for modality in MODALITIES:
                scores = predictions.scores[k][modality][rows[shown]]
                self.classes[modality, k] = [
                    _RankedClass(scores[:, c], targets[shown, c], shown, len(rows))
                    if targets[shown, c].any()
                    else None
                    for c in range(targets.shape[1])
                ]

    def __call__(self, counts_NR: Floats, modality: str) -> tuple[Floats, Floats]:
        """a(k,j), shape [R, T, T], and A_k, shape [R, T], in 0..1."""
        num_draws = counts_NR.shape[1]
        a = np.full((num_draws, self.num_tasks, self.num_tasks), np.nan)
        seen = np.full((num_draws, self.num_tasks), np.nan)
        for k in range(self.num_tasks):
            nothing = np.full(num_draws, np.nan)
            columns = [
                nothing if one is None else one.average_precision(counts_NR)
                for one in self.classes[modality, k]
            ]
            precisions_CR = np.asarray(columns)
            seen[:, k] = _mean(precisions_CR, axis=0)
            for j in range(k + 1):
                of_task = self.task_of_class[: len(columns)] == j
                a[:, k, j] = _mean(precisions_CR[of_task], axis=0)
        return a, seen


class _RankedClass:
    """Clips ranked by descending score; clips of equal score share a rank."""

    def __init__(
        self,
        scores: npt.NDArray[np.float32],
        targets: npt.NDArray[np.bool_],
        clips: npt.NDArray[np.int64],
        num_clips: int,
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked, hits = scores[order], np.flatnonzero(targets[order])
        changes = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
        # Precision is needed only at the end of each group of equal scores that contains a hit.
        ends, first_hits = np.unique(changes[np.searchsorted(changes, hits)], return_index=True)
        self._hits = _sums(clips[order[hits]], first_hits, num_clips)
        self._clips = _sums(clips[order[: ends[-1] + 1]], np.append(0, ends[:-1] + 1), num_clips)

    def average_precision(self, counts_NR: Floats) -> Floats:
        """Average precision of weighted clips, [R]; NaN where no clip of the class was drawn."""
        hits = self._hits @ counts_NR
        found = hits.cumsum(axis=0)
        above = (self._clips @ counts_NR).cumsum(axis=0)
        # Where no clip has been drawn so far there is no hit either: 0 / 0 contributes nothing.
        products = hits * found / np.maximum(above, 1)
        with np.errstate(invalid="ignore"):
            result: Floats = products.sum(axis=0) / found[-1]
        return result


def _sums(clips: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], num_clips: int) -> Any:
    """A sparse matrix that sums groups of clips, each from one start to the next."""
    from scipy.sparse import csr_array

    ones = np.ones(len(clips), dtype=np.float32)
    return csr_array((ones, clips, np.append(starts, len(clips))), (len(starts), num_clips))


def _named(a_RTT: Floats, seen_RT: Floats) -> tuple[Floats, Floats, Floats]:
    """Last accuracy, average incremental accuracy and forgetting, each of shape [R]."""
    num_tasks = seen_RT.shape[1]
    drops = [
        a_RTT[:, j:-1, j].max(axis=1) - a_RTT[:, -1, j] for j in range(num_tasks - 1)
    ]  # as in `cign.metrics.incremental.forgetting`
    nothing = np.full((1, len(seen_RT)), np.nan)
    return (
        seen_RT[:, -1],
        _mean(seen_RT, axis=1),
        _mean(np.asarray(drops) if drops else nothing, axis=0),
    )


def _mean(values: Floats, axis: int) -> Floats:
    """Mean of the defined values, or NaN without any (`numpy.nanmean` would warn)."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = total / count
    return result
