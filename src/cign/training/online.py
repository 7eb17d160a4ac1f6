"""Online streams: each clip once, in small batches, and accuracy at any time.

A single pass in batches of 10 is usual in online continual learning (Aljundi et al., NeurIPS 2019);
accuracy over the clips seen, and the area under it, follow Koh et al. (ICLR 2022). docs/streams.md
has the definitions and says what is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from cign.data.tasks import IntArray, TaskClips
from cign.errors import RunError
from cign.methods.base import TaskData
from cign.methods.phases import Phase
from cign.metrics.incremental import class_targets
from cign.metrics.online import CurvePoint, percent_of_seen
from cign.metrics.predictions import Predictions, Scores
from cign.training.place import Place

ONLINE_BATCH = 10
"""New clips per batch."""


class Evaluated(Protocol):
    """A training loop; see `cign.training.loop.Loop`."""

    clips: TaskClips
    train: IntArray
    predictions: Predictions
    place: Place

    def scores_within_phase(self, rows: IntArray) -> Scores:
        """Scores of some test clips, given by their rows of the predictions, in a phase."""


def one_pass(phases: Sequence[Phase], data: TaskData) -> list[Phase]:
    """The phases of a task as a single pass over its clips, in batches of 10.

    Numbers of passes and steps and batch sizes of the phases are replaced. A phase that mixes new
    clips and exemplars gets as many exemplars per batch as new clips; one that draws exemplars
    itself keeps their ratio to new clips.

    Args:
        phases: Of the method.
        data: Of the task.

    Raises:
        RunError: If a new clip is in two phases.
    """
    read = np.concatenate([phase.indices[np.isin(phase.indices, data.new)] for phase in phases])
    if len(np.unique(read)) < len(read):
        raise RunError(
            "plugin-contract",
            f"the phases {', '.join(phase.name for phase in phases)} read clips of the task twice, "
            "which an online stream does not allow: use --stream tasks",
        )
    passes = []
    for phase in phases:
        options = replace(phase.options, num_epochs=1, min_steps=0, batch_size=ONLINE_BATCH)
        num_replay = math.ceil(phase.num_replay * ONLINE_BATCH / phase.options.batch_size)
        phase = replace(phase, options=options, num_replay=num_replay)
        is_new = np.isin(phase.indices, data.new)
        if is_new.any() and not is_new.all():
            phase = replace(
                phase,
                indices=phase.indices[is_new],
                replay=phase.indices[~is_new],
                num_replay=ONLINE_BATCH,
            )
        passes.append(phase)
    return passes


def evaluation_steps(num_steps: int, number: int) -> list[int]:
    """Steps of a pass after which it is evaluated: evenly spaced, without the last step.

    Args:
        num_steps: Steps of the pass.
        number: Number of evaluations with the one after the task.
    """
    steps = {math.ceil(i * num_steps / number) for i in range(1, number)}
    return sorted(steps - {num_steps})


@dataclass(kw_only=True)
class Online:
    """The evaluations of an online run.

    Attributes:
        number: Number of evaluations in each task; the last one is after the task.
        points: Those made so far.
    """

    number: int
    points: list[CurvePoint] = field(default_factory=list)

    def after_step(self, loop: Evaluated, phase: int, batches: Sequence[IntArray]) -> None:
        """Score the test clips of the classes seen so far, if an evaluation is due.

        Args:
            loop: The training loop, in the middle of a phase.
            phase: Number of the phase; only the first one of a task is evaluated.
            batches: All batches of the phase.
        """
        task, step = loop.place.task, loop.place.step
        if phase or step not in evaluation_steps(len(batches), self.number):
            return
        own = np.concatenate(batches[:step])
        own = own[loop.clips.arrival[own] == task]  # the others are exemplars
        learned = np.concatenate([loop.clips.up_to(loop.train, task - 1), own])
        rows = self._rows(loop, learned)
        scores = loop.scores_within_phase(rows) if len(rows) else {}
        self._add(loop, task, learned, rows, scores)

    def after_task(self, loop: Evaluated, task: int) -> None:
        """Add the evaluation after a task, whose scores are the last of the predictions."""
        learned = loop.clips.up_to(loop.train, task)
        rows = self._rows(loop, learned)
        last = loop.predictions.scores[task]
        self._add(loop, task, learned, rows, {m: scores[rows] for m, scores in last.items()})

    def _rows(self, loop: Evaluated, learned: IntArray) -> IntArray:
        """Rows of the test clips with a class of the learned clips."""
        seen = loop.clips.targets[learned].any(axis=0)
        return np.flatnonzero(class_targets(loop.predictions)[:, seen].any(axis=1))

    def _add(
        self, loop: Evaluated, task: int, learned: IntArray, rows: IntArray, scores: Scores
    ) -> None:
        seen = np.flatnonzero(loop.clips.targets[learned].any(axis=0))
        percent = percent_of_seen(loop.predictions, rows, scores, seen)
        self.points.append(
            CurvePoint(
                task=task + 1, num_clips=len(learned), num_classes=len(seen), percent=percent
            )
        )
