"""The training loop: tasks, phases, epochs, steps. It is independent of the method.

One checkpoint holds the complete state of a run and can be written after any step. Random numbers
are seeded by the position in the run (`cign.utils.seeding`), so that a resumed run is bit-exact
with an uninterrupted one, given the same number of threads, which the checkpoint records.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cign.data.batches import ClipSource
from cign.data.exemplar_memory import ExemplarMemory
from cign.data.tasks import IntArray, TaskClips
from cign.errors import InputError, RunError
from cign.methods.base import Batch, Losses, Method, TaskData
from cign.methods.phases import (
    Phase,
    clear_gradients,
    clip_gradients,
    make_optimizer,
    set_learning_rate,
)
from cign.metrics.predictions import Predictions, Scores
from cign.training.arrival import ArrivalEstimate, estimate_at_arrival
from cign.training.callbacks import Callbacks
from cign.training.distributed.comm import Comm, Share
from cign.training.distributed.sums import check_sums, marks_of, partial_sums, refuse_whole_batch
from cign.training.feed import Feed
from cign.training.interrupts import Interrupts
from cign.training.loss_text import loss_of_epoch, loss_so_far
from cign.training.online import Online, one_pass
from cign.training.place import Place
from cign.training.state import restore, state_of
from cign.utils.checkpoint import load_optimizer_state, save_tree
from cign.utils.devices import move_to
from cign.utils.progress import Measuring, Progress, Silent
from cign.utils.seeding import seed_torch, stream
from cign.vocabulary import EVALUATION_BATCH

SAVE_EVERY_STEPS = 16
"""With several processes: steps between possible checkpoints."""
# Keys of the random streams.
_BEFORE_TASK, _SHUFFLE, _STEP, _AFTER_TASK = range(4)


@dataclass(kw_only=True)
class Loop:
    """One run of one method over a sequence of tasks.

    Attributes:
        method: The method to train.
        clips: Targets and tasks of all clips.
        source: Reads clips by index.
        train: Indices of the usable training clips, shape [n].
        test: Indices of the clips scored after every task, in the order of ``predictions``.
        test_source: Reads those clips if they are in another store; None reads ``source``.
        memory: Exemplars; its budget is 0 for none.
        predictions: Scores so far.
        seed: Seed of the run.
        checkpoint: Checkpoint file; None saves nothing.
        predictions_path: File for the scores after every task; None holds them in memory only.
        checkpoint_every_s: Seconds between checkpoints within a phase; 0 saves at every step.
        stop_after: Steps after which `run` returns, for tests.
        device: Compute device.
        progress: Receives the progress of steps.
        after_task: Called after a task is learned, scored and saved.
        comm: The processes that share the batches; by default only this one.
        eval_batch_size: Clips per forward pass where nothing is trained.
        online: Evaluations of an online stream; None for other streams.
        callbacks: Called after steps, epochs and tasks and before checkpoints; of several processes
            only rank 0 has any.

    Raises:
        InputError: If several processes cannot share the method's batches.
    """

    method: Method
    clips: TaskClips
    source: ClipSource
    train: IntArray
    test: IntArray
    memory: ExemplarMemory
    predictions: Predictions
    test_source: ClipSource | None = None
    seed: int = 0
    checkpoint: Path | None = None
    predictions_path: Path | None = None
    checkpoint_every_s: float = 30.0
    stop_after: int | None = None
    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)
    after_task: Callable[[], None] = lambda: None
    comm: Comm = field(default_factory=Comm)
    eval_batch_size: int = EVALUATION_BATCH
    online: Online | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)

    def __post_init__(self) -> None:
        if not self.comm.is_alone:
            refuse_whole_batch(self.method, keeps_clips=self.memory.budget.amount > 0)
        self.place = Place()
        self.seconds = 0.0
        self.num_steps = 0  # of all tasks so far
        self.losses: list[dict[str, Any]] = []  # one entry for each epoch
        self.estimates: list[ArrivalEstimate] = []  # of each task, if the method can leave out
        self.sums: dict[str, Tensor] = {}
        self.optimizer: torch.optim.Optimizer | None = None
        self.saved_optimizer: dict[str, Any] | None = None
        self._last_save = self._last_tick = time.monotonic()
        self._steps_done = 0
        self._shown: tuple[float, Losses] | None = None  # rate and losses for the callbacks
        self._saved: Place | None = None  # position of the checkpoint
        # Several processes would have to agree on an interrupt.
        self._interrupts = Interrupts(holds=self.comm.is_alone)
        self._phase: Phase | None = None  # inside a phase, sums are partial
        self._modules: list[tuple[nn.Module, bool]] = []  # and whether they are in training mode
        move_to(self.method, self.device)

    # ---------------------------------------------------------------- the loop

    def run(self) -> None:
        """Learn the remaining tasks with checkpoints; Ctrl-C saves and raises `Interrupted`."""
        with nullcontext() if self.checkpoint is None else self._interrupts.held_back(self._kept):
            self._run()

    def _run(self) -> None:
        """Learn the remaining tasks."""
        self._last_save = self._last_tick = time.monotonic()
        for task in range(self.place.task, self.clips.tasks.num_tasks):
            data = self._task_data(task)
            if self.place.phase < 0:
                seed_torch(self.seed, _BEFORE_TASK, task)
                self.method.grow(data.num_new)
                self.method.before_task(data)
                self.method.to(self.device)
                self.place = Place(task, 0)
            self.method.data = data
            phases = self.method.phases(data)
            if self.online is not None:
                phases = one_pass(phases, data)
            for number in range(self.place.phase, len(phases)):
                self._run_phase(task, number, phases[number])
                if self._stopping():
                    return
            seed_torch(self.seed, _AFTER_TASK, task)
            self.method.eval()
            self.method.after_task(data)
            estimate = estimate_at_arrival(self.method, data, self.source)
            self.estimates += [] if estimate is None else [estimate]
            self._feed.choose_exemplars(self.memory, self.method, data)
            self.method.after_memory(replace(data, memory=self.memory.indices))
            self.method.data = None
            self._score(task)
            self.callbacks.task_end(task + 1, self.num_steps, self.predictions)
            self.place = Place(task + 1)
            self.save()
            self.after_task()
            self._interrupts.leave_if_asked()
        self.progress.stop()

    def _run_phase(self, task: int, number: int, phase: Phase) -> None:
        """Iterate over a phase's clips, from the current position on."""
        if len(phase.indices) == 0:
            raise RunError(
                "no-clips", f"task {task + 1} has no training clip: check the splits of the store"
            )
        title = f"task {task + 1}/{self.clips.tasks.num_tasks} {phase.name}"
        self.progress.start(title, phase.num_epochs * phase.steps_per_epoch)
        if isinstance(self.progress, Measuring):
            self.progress.measure("steps", self._loss_text)
        self.progress.advance(self.place.epoch * phase.steps_per_epoch + self.place.step)
        parameters = [
            (name, parameter)
            for name, parameter in self.method.named_parameters()
            if parameter.requires_grad and name.startswith(phase.trained)
        ]
        self.optimizer = make_optimizer(parameters, phase.options) if phase.updates else None
        if self.saved_optimizer is not None and self.optimizer is not None:
            load_optimizer_state(self.optimizer, self.saved_optimizer)
        self.saved_optimizer = None
        self._phase = phase
        self.method.train()
        self._modules = [(part, part.training) for part in self.method.modules()]
        self.comm.leave_to_first_(self._parts())
        for epoch in range(self.place.epoch, phase.num_epochs):
            batches = phase.batches(stream(self.seed, _SHUFFLE, task, number, epoch))
            for batch, share in self._feed.shared_batches(batches[self.place.step :], task):
                self._step(batch, phase, share)
                self.progress.advance()
                if self.online is not None:
                    self.online.after_step(self, number, batches)
                if self._due() or self._interrupts.asked:
                    self.save()
                self._interrupts.leave_if_asked()
                if self._stopping():
                    return
            self._end_epoch(task, phase, epoch)
        self.comm.sum_(self._parts())
        self.comm.average_statistics_(self.method)
        self._phase = None
        self.place = Place(task, number + 1)
        self.optimizer = None

    def _step(self, batch: Batch, phase: Phase, share: Share | None) -> None:
        """Learn from one batch, or this process's part of it. No host-device synchronization."""
        task, number, epoch, step = astuple(self.place)
        if phase.updates or share is None or share.fraction > 0:
            seed_torch(self.seed, _STEP, task, number, epoch, step)
            if any(part.training is not mode for part, mode in self._modules):
                self.method.train()
            before = {} if phase.updates or share is None else marks_of(self.method)
            with nullcontext() if share is None else self.comm.draws(share):
                losses = self.method.learn(batch, phase)
            if losses is not None:
                self._update(losses, phase, share)
            elif before:
                check_sums(self.method, before)
        self.place = replace(self.place, step=step + 1)
        self._steps_done += 1
        self.num_steps += 1
        if self._shown is not None:
            self.callbacks.step_end(self.num_steps, self.place, phase.name, *self._shown)
            self._shown = None

    def _update(self, losses: Losses, phase: Phase, share: Share | None) -> None:
        """Take a gradient step and accumulate the losses."""
        assert self.optimizer is not None
        rate = phase.learning_rate(self.place.epoch * phase.steps_per_epoch + self.place.step)
        set_learning_rate(self.optimizer, rate)
        clear_gradients(self.optimizer)
        torch.stack(list(losses.values())).sum().backward()
        if share is not None:
            self.comm.average_gradients_(self.optimizer, share)
        self.method.after_backward(self.optimizer)
        clip_gradients(self.optimizer, phase.options.max_grad_norm)
        self.optimizer.step()
        if self.callbacks.want_step(self.num_steps + 1):
            self._shown = rate, {name: value.detach() for name, value in losses.items()}
        for name, value in losses.items():
            total = self.sums.get(name, torch.zeros_like(value))
            weighted = value.detach() if share is None else share.fraction * value.detach()
            self.sums[name] = total + weighted

    def _parts(self) -> list[Tensor]:
        """The tensors that are partial sums of this process within the phase."""
        absorbs = self._phase is not None and not self._phase.updates
        return partial_sums(self.method, self.sums, absorbs=absorbs)

    def _end_epoch(self, task: int, phase: Phase, epoch: int) -> None:
        """Record the epoch's mean losses. Synchronizes host and device."""
        self.comm.sum_(self.sums.values())
        means = {name: float(total) / self.place.step for name, total in self.sums.items()}
        if not all(np.isfinite(value) for value in means.values()):
            raise RunError(
                "diverged",
                f"the loss of task {task + 1}, epoch {epoch + 1} is not finite ({means}): "
                "use a lower learning rate",
            )
        self.losses.append({"task": task, "phase": phase.name, "epoch": epoch, **means})
        number = len(self.losses)
        self.callbacks.epoch_end(number, self.num_steps, self.place, phase.name, means)
        self.sums = {}
        self.place = replace(self.place, epoch=epoch + 1, step=0)

    def _loss_text(self) -> str:
        """Mean loss of the current or last epoch, as text. Synchronizes host and device."""
        # Within an epoch, each of several processes knows only the losses of its own clips.
        now = loss_so_far(self.sums, self.place.step) if self.comm.is_alone else ""
        return now or loss_of_epoch(self.losses, self.place.task)

    # ------------------------------------------------- around the loop: data

    @property
    def _feed(self) -> Feed:
        return Feed(
            clips=self.clips,
            source=self.source,
            device=self.device,
            comm=self.comm,
            eval_batch_size=self.eval_batch_size,
        )

    def _task_data(self, task: int) -> TaskData:
        """The data of a task that the method may use."""
        return self._feed.task_data(self.method, task, self.train, self.memory.indices, self.seed)

    def scores_within_phase(self, rows: IntArray) -> Scores:
        """Score test clips in the middle of a phase; what is learned afterwards stays the same.

        Args:
            rows: Positions of the clips in ``test``, shape [n].
        """
        parts = self._parts()
        self.comm.average_statistics_(self.method)
        self.comm.move_to_first_(parts)
        self.method.eval()
        with self.comm.agreeing():
            if self.comm.is_first:
                self.method.before_scoring()
        self.comm.take_from_first_(self.method.state_dict().values())
        source = self.test_source or self.source
        scores = self._feed.scores(self.method, source, self.test[rows], Silent())
        self.comm.leave_to_first_(parts)  # the steps to come add to partial sums again
        return scores

    def _score(self, task: int) -> None:
        """Score all test clips, including those of later tasks, on the classes seen so far."""
        self.comm.take_from_first_(self.method.state_dict().values())
        self.progress.start(f"task {task + 1} test", len(self.test))
        source = self.test_source or self.source
        scores = self._feed.scores(self.method, source, self.test, self.progress)
        self.predictions.add_task(scores)
        if self.online is not None:
            self.online.after_task(self, task)
        if self.predictions_path is not None:
            self.predictions.save(self.predictions_path)

    # --------------------------------------------- around the loop: checkpoint

    def _due(self) -> bool:
        """Whether a checkpoint is due; with several processes rank 0 decides."""
        if not self.comm.is_alone and self._steps_done % SAVE_EVERY_STEPS:
            return False
        late = time.monotonic() - self._last_save >= self.checkpoint_every_s
        return self.comm.first_says(late and self.checkpoint is not None)

    def _kept(self) -> str:
        if self._saved is None:
            return "nothing is saved"
        return f"{self._saved.words(self.clips.tasks.num_tasks)} is saved"

    def _stopping(self) -> bool:
        return self.stop_after is not None and self._steps_done >= self.stop_after

    def save(self) -> None:
        """Write the state; with several processes rank 0 does, after partial sums are reduced."""
        if self._phase is not None:
            self.comm.average_statistics_(self.method)
            self.comm.move_to_first_(self._parts())
        now = time.monotonic()
        self.seconds += now - self._last_tick
        self._last_tick = self._last_save = now
        if self.checkpoint is None:
            return
        self.callbacks.checkpoint()
        save_tree(self.checkpoint, state_of(self))
        self._saved = self.place

    def resume(self) -> None:
        """Load the checkpoint; `run` continues from there.

        Raises:
            InputError: If the checkpoint is missing, damaged or does not fit the method.
        """
        assert self.checkpoint is not None
        restore(self, self.checkpoint)
        self._saved = self.place
        del self.predictions.scores[self.place.task :]
        if self.predictions.num_tasks_done != self.place.task:
            raise InputError(
                "resume-mismatch",
                f"predictions beside {self.checkpoint} end at task "
                f"{self.predictions.num_tasks_done}, the checkpoint at {self.place.task}: "
                "restore predictions.parquet or run without --resume in a new folder",
            )
