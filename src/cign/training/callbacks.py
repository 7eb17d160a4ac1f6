"""Callbacks: the hooks that a run calls, for loggers and for code of the user's own.

Steps, epochs and tasks have numbers of their own, each counted from 1 over the whole run. They do
not depend on interruptions: a resumed run continues after the numbers of its checkpoint, which
`RunStart` states. A logger that drops what it holds beyond these numbers has every entry once.

Callbacks only observe: results of a run are the same with and without them. Without callbacks no
value is read from the device.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cign.errors import reason_of
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.training.place import Place
from cign.utils.progress import Progress, Silent

EVERY_STEPS = 50
_LOGGER = logging.getLogger("cign")
NAMED = ("last", "average", "forgetting", "task_mean", "bwt")


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """A run starts or resumes.

    Attributes:
        name: Name of the run: that of its folder, or of its method without a folder.
        folder: The run folder; None for a run in memory.
        group: Name of the bench or search that the run belongs to; empty for a single run.
        config: The configuration, as under ``config`` in ``metrics.json``.
        classes: All class names, in the order of learning.
        num_tasks: Number of tasks.
        num_train: Number of training clips.
        num_test: Number of clips that are scored after every task.
        resumed: Whether the run resumes from a checkpoint.
        steps_done: Number of the last step before the state it starts from; 0 for none.
        epochs_done: Number of the last epoch, likewise.
        tasks_done: Number of the last task, likewise.
    """

    name: str
    folder: Path | None
    group: str
    config: Mapping[str, Any]
    classes: tuple[str, ...]
    num_tasks: int
    num_train: int
    num_test: int
    resumed: bool
    steps_done: int
    epochs_done: int
    tasks_done: int


@dataclass(frozen=True, kw_only=True)
class StepEnd:
    """A gradient step was taken. Closed-form methods take none.

    Attributes:
        number: Number of the step.
        task: Number of the task.
        phase: Name of the training phase of the method.
        epoch: Number of the epoch within the phase.
        losses: Terms of the loss of this batch; with several processes, of rank 0's part of it.
        learning_rate: Learning rate of the step.
    """

    number: int
    task: int
    phase: str
    epoch: int
    losses: Mapping[str, float]
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """An epoch has ended.

    Attributes:
        number: Number of the epoch, over all phases of all tasks.
        step: Number of steps so far.
        task: Number of the task.
        phase: Name of the training phase of the method.
        epoch: Number of the epoch within the phase.
        losses: Mean of each term of the loss over the epoch; empty for closed-form methods.
    """

    number: int
    step: int
    task: int
    phase: str
    epoch: int
    losses: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class TaskEnd:
    """A task was learned and all test clips were scored; the checkpoint is written afterwards.

    Attributes:
        number: Number of the task.
        step: Number of steps so far.
        classes: The classes that the task added.
        metrics: Percent by name, see `task_metrics`.
    """

    number: int
    step: int
    classes: tuple[str, ...]
    metrics: Mapping[str, float]


class StopRun(Exception):  # noqa: N818
    """Raised by a callback to end a run; `Learner.learn` raises it again."""


class Callback:
    """What a run calls. Subclasses override the hooks they need; those of this class do nothing.

    An exception in a hook does not end the run: it is reported once, and the callback is not called
    any more. `StopRun` ends the run.

    Attributes:
        every_steps: Steps between calls of `on_step_end`; 0 for no calls. Reading the losses of a
            step makes the host wait for the device.
    """

    every_steps: int = 0

    def on_run_start(self, run: RunStart) -> None:
        """A run starts or resumes; called before its first step."""

    def on_step_end(self, step: StepEnd) -> None:
        """A step was taken whose number is a multiple of ``every_steps``."""

    def on_epoch_end(self, epoch: EpochEnd) -> None:
        """An epoch has ended."""

    def on_task_end(self, task: TaskEnd) -> None:
        """A task was learned and scored."""

    def on_checkpoint(self) -> None:
        """A checkpoint is about to be written: flush what must not be lost behind it."""

    def on_run_end(self, metrics: Mapping[str, Any]) -> None:
        """The run has finished.

        Args:
            metrics: The contents of ``metrics.json``.
        """

    def on_failure(self, error: BaseException) -> None:
        """The run has ended early, by an error, an interruption or `StopRun`."""


@dataclass
class Callbacks:
    """The callbacks of a run, called in order; a faulty one is reported and left out.

    Attributes:
        members: The callbacks that are still called.
        progress: Receives the sentence about a faulty callback.
    """

    members: list[Callback] = field(default_factory=list)
    progress: Progress = field(default_factory=Silent)

    def want_step(self, number: int) -> bool:
        """Whether a callback asks for a step."""
        return any(_is_due(one, number) for one in self.members)

    def step_end(
        self, number: int, place: Place, phase: str, rate: float, losses: Mapping[str, Tensor]
    ) -> None:
        """Call ``on_step_end`` of those that want this step; reads the losses from the device."""
        step = StepEnd(
            number=number,
            task=place.task + 1,
            phase=phase,
            epoch=place.epoch + 1,
            losses={name: float(value) for name, value in losses.items()},
            learning_rate=rate,
        )
        self._call("on_step_end", step, only=[m for m in self.members if _is_due(m, number)])

    def epoch_end(
        self, number: int, step: int, place: Place, phase: str, losses: Mapping[str, float]
    ) -> None:
        """Call ``on_epoch_end``."""
        epoch = EpochEnd(
            number=number,
            step=step,
            task=place.task + 1,
            phase=phase,
            epoch=place.epoch + 1,
            losses=losses,
        )
        self._call("on_epoch_end", epoch)

    def task_end(self, number: int, step: int, predictions: Predictions) -> None:
        """Call ``on_task_end``; metrics are computed only if there is a callback."""
        if not self.members:
            return
        begin = sum(predictions.task_sizes[: number - 1])
        classes = predictions.class_names[begin : begin + predictions.task_sizes[number - 1]]
        metrics = task_metrics(predictions)
        task = TaskEnd(number=number, step=step, classes=tuple(classes), metrics=metrics)
        self._call("on_task_end", task)

    def checkpoint(self) -> None:
        """Call ``on_checkpoint``."""
        self._call("on_checkpoint")

    @contextlib.contextmanager
    def during(self, run: RunStart) -> Iterator[None]:
        """Call ``on_run_start``, and ``on_failure`` if the body raises an exception."""
        try:
            self._call("on_run_start", run)
            yield
        except BaseException as error:
            self._call("on_failure", error)
            raise

    def run_end(self, metrics: Mapping[str, Any]) -> None:
        """Call ``on_run_end``."""
        self._call("on_run_end", metrics)

    def _call(self, hook: str, *arguments: Any, only: Sequence[Callback] | None = None) -> None:
        for one in list(self.members if only is None else only):
            try:
                getattr(one, hook)(*arguments)
            except StopRun:
                if hook != "on_failure":
                    raise
            except Exception as error:  # whatever a logger does, the run goes on
                self.members.remove(one)
                reason = reason_of(error)
                self._warn(
                    f"callback {type(one).__name__} failed in {hook} and is switched off; the run "
                    f"goes on without it ({reason[:300]})"
                )

    def _warn(self, text: str) -> None:
        if isinstance(self.progress, Silent):
            _LOGGER.warning(text)
        else:
            self.progress.note(text)


def _is_due(one: Callback, number: int) -> bool:
    return one.every_steps > 0 and number % one.every_steps == 0


def task_metrics(predictions: Predictions) -> dict[str, float]:
    """Metrics after the last learned task, in percent, by flat names as in a bench's ``table.csv``.

    ``last_audio_visual`` is the accuracy over all classes seen so far (`NAMED` for each modality),
    ``task_2_audio_visual`` that on the test clips of task 2. Clips with several labels have mean
    average precision instead. Metrics that are not defined are left out.
    """
    found: dict[str, float | None] = {}
    for modality, numbers in summarise(predictions).items():
        found |= {f"{name}_{modality}": numbers[name] for name in NAMED}
        rows = numbers["matrix"]
        found |= {f"task_{j}_{modality}": x for j, x in enumerate(rows[-1] if rows else [], 1)}
    return {name: value for name, value in found.items() if value is not None}
