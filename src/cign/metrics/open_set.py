"""Open-set metrics: how well a score tells clips of classes never taught from those of known ones.

A score is higher for clips that look less known. After step k the classes still to come are the
unknowns, with a held-out group of split ``unknown`` that never arrives.

Legend: K clips of known classes, U clips of unknown ones, N = K + U, C classes seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cign.metrics.incremental import class_targets
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

DEFINITIONS: dict[str, str] = {
    "auroc": "chance that a clip of an unknown class has a higher unknown score than one of a "
    "known class; equal scores count half",
    "fpr95": "share of the clips of unknown classes that pass as known where 95 % of those of "
    "known classes do",
    "oscr": "area under the share of known clips that pass and are answered right, over the share "
    "of unknown clips that pass (Dhamija 2018)",
}
# Of a run: the headline first.
RUN_DEFINITIONS: dict[str, str] = {
    "oscr": f"open-set classification rate, {DEFINITIONS['oscr']}; mean over the steps k after "
    "which there are clips of unknown classes: those still to come and those of split unknown. A "
    "clip passes where its unknown score, minus its highest class score, is below a threshold",
    "auroc": f"{DEFINITIONS['auroc']}; mean over the same steps",
    "fpr95": f"{DEFINITIONS['fpr95']}; mean over the same steps",
    "oscr_last": "oscr after task T alone, where the clips of split unknown are the unknown ones",
    "auroc_last": "auroc after task T alone",
    "fpr95_last": "fpr95 after task T alone",
}


def auroc(known: Floats, unknown: Floats) -> float | None:
    """Area under the ROC curve, unknown clips being the positive ones.

    Args:
        known: Scores of clips of known classes, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].

    Returns:
        0..1; None without clips of either kind.
    """
    return oscr(known, np.ones(len(known), dtype=np.bool_), unknown)


def fpr_at_recall(known: Floats, unknown: Floats, recall: float = 0.95) -> float | None:
    """Share of unknown clips that pass where a share ``recall`` of the known ones does (FPR95).

    The threshold is the lowest score of a known clip up to which that share of them lies; clips
    that have it pass.

    Args:
        known: Scores of clips of known classes, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].
        recall: Above 0, at most 1.

    Returns:
        0..1; None without clips of either kind.
    """
    assert 0.0 < recall <= 1.0
    if not len(known) or not len(unknown):
        return None
    # The small number keeps 0.95 * 20 from becoming 20 by rounding.
    needed = int(np.ceil(recall * len(known) - 1e-9))
    threshold = np.sort(known)[needed - 1]
    return float(np.mean(unknown <= threshold))


def oscr(known: Floats, right: Bools, unknown: Floats) -> float | None:
    """Area under the open-set classification rate (Dhamija et al., NeurIPS 2018).

    The correct classification rate at a threshold is the share of the known clips that score
    below it and are answered right; it is drawn over the share of unknown clips below the same
    threshold. The area is the mean over pairs of [right and known score < unknown score], equal
    scores counting half, as the trapezoid rule does.

    Args:
        known: Scores of clips of known classes, shape [K].
        right: Whether each of them is answered right, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].

    Returns:
        0..1, at most the accuracy on the known clips; None without clips of either kind.
    """
    if not len(known) or not len(unknown):
        return None
    sorted_right = np.sort(np.asarray(known)[right])
    below = np.searchsorted(sorted_right, unknown, side="left")
    up_to = np.searchsorted(sorted_right, unknown, side="right")
    return float((below + up_to).sum() / (2.0 * len(known) * len(unknown)))


def open_set(known: Floats, right: Bools, unknown: Floats) -> dict[str, float | None]:
    """All of `DEFINITIONS` in percent, None where there is nothing to measure.

    Args:
        known: Scores of clips of known classes, shape [K].
        right: Whether each of them is answered right, shape [K].
        unknown: Scores of clips of unknown classes, shape [U].
    """
    values = {
        "auroc": auroc(known, unknown),
        "fpr95": fpr_at_recall(known, unknown),
        "oscr": oscr(known, right, unknown),
    }
    return {name: None if x is None else 100.0 * x for name, x in values.items()}


def is_known(
    labels: list[tuple[str, ...]], classes: tuple[str, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of clips all of whose labels are among the classes, and of those none of whose are.

    A clip that shows a known and an unknown class is neither.
    """
    seen = set(classes)
    inside = [seen.issuperset(names) for names in labels]
    outside = [seen.isdisjoint(names) for names in labels]
    return np.flatnonzero(inside), np.flatnonzero(outside)


def answered_right(
    scores: Floats, labels: list[tuple[str, ...]], classes: tuple[str, ...]
) -> Bools:
    """Whether the class that a clip's scores [N, C] put first is one of its labels, shape [N]."""
    answers = np.asarray(scores).argmax(axis=1)
    pairs = zip(answers, labels, strict=True)
    return np.array([classes[c] in names for c, names in pairs], dtype=np.bool_)


def open_set_after(predictions: Predictions, task: int, modality: str) -> dict[str, float | None]:
    """Open-set metrics after a task, of the one score that stored predictions allow.

    The unknown score is the highest class score with its sign turned: 1 minus the highest
    probability in another scale.

    Args:
        predictions: Of the run.
        task: From 0.
        modality: One of ``MODALITIES``.
    """
    return _after(predictions, task, _Shown.of(predictions))[modality]


def summarise_open_set(predictions: Predictions) -> dict[str, list[dict[str, float | None]]]:
    """`open_set_after` every task learned so far, for each reading."""
    shown = _Shown.of(predictions)
    steps = [_after(predictions, task, shown) for task in range(predictions.num_tasks_done)]
    return {modality: [step[modality] for step in steps] for modality in MODALITIES}


def summarise(predictions: Predictions) -> dict[str, dict[str, float | None]]:
    """The numbers of `RUN_DEFINITIONS` for every reading; None where they are not defined."""
    steps = summarise_open_set(predictions)
    whole = predictions.num_tasks_done == len(predictions.task_sizes)
    result: dict[str, dict[str, float | None]] = {}
    for modality in MODALITIES:
        found: dict[str, float | None] = {}
        for name in DEFINITIONS:
            known = [x for step in steps[modality] if (x := step[name]) is not None]
            found[name] = float(np.mean(known)) if known else None
            found[f"{name}_last"] = steps[modality][-1][name] if whole else None
        result[modality] = {name: found[name] for name in RUN_DEFINITIONS}
    return result


def num_unknown(predictions: Predictions) -> list[int]:
    """Clips of classes not taught so far, after each task learned."""
    shown = _Shown.of(predictions)
    return [
        int((shown.first >= predictions.num_seen(task)).sum())
        for task in range(predictions.num_tasks_done)
    ]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """Which classes of a run the clips show.

    Attributes:
        targets: Shape [N, C].
        first: Place of each clip's first class in the order learned, shape [N]; C for a class that
            never comes.
        last: Place of its last class, shape [N].
    """

    targets: Bools
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]

    @classmethod
    def of(cls, predictions: Predictions) -> _Shown:
        never = len(predictions.class_names)
        place = {name: c for c, name in enumerate(predictions.class_names)}
        places = [[place.get(name, never) for name in names] for names in predictions.labels]
        return cls(
            targets=class_targets(predictions),
            first=np.array([min(some, default=never) for some in places], dtype=np.int64),
            last=np.array([max(some, default=never) for some in places], dtype=np.int64),
        )


def _after(
    predictions: Predictions, task: int, shown: _Shown
) -> dict[str, dict[str, float | None]]:
    """`open_set` of every reading after a task (from 0)."""
    num_seen = predictions.num_seen(task)
    known, unknown = shown.last < num_seen, shown.first >= num_seen
    result = {}
    for modality in MODALITIES:
        scores = predictions.scores[task][modality]
        right = shown.targets[np.arange(len(scores)), scores.argmax(axis=1)]
        score = -scores.max(axis=1)
        result[modality] = open_set(score[known], right[known], score[unknown])
    return result
