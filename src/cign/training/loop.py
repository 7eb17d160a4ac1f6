"""The loop: tasks, phases, epochs, steps. It names no method and keeps nothing to itself.

Everything a run needs to go on is in one checkpoint, which can be taken after any step. Random
numbers come from the place in the run (`cign.utils.seeding`), so that a resumed run takes the same
bits as one that was never stopped, given the same number of threads, which the checkpoint records.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cign.data.batches import ClipSource, cut
from cign.data.exemplar_memory import ExemplarMemory
from cign.data.tasks import IntArray, TaskClips
from cign.errors import InputError, RunError
from cign.methods.base import Batch, Losses, Method, TaskData
from cign.methods.phases import Phase, clip_gradients, make_optimizer, set_learning_rate
from cign.metrics.predictions import Predictions
from cign.training.distributed.comm import Comm, Share
from cign.training.distributed.sums import check_sums, marks_of, partial_sums, refuse_whole_batch
from cign.training.feed import Feed
from cign.training.interrupts import Interrupts
from cign.training.loss_text import loss_of_epoch, loss_so_far
from cign.training.place import Place
from cign.training.scoring import EVALUATION_BATCH
from cign.utils.checkpoint import (
    load_module,
    load_optimizer_state,
    load_tree,
    optimizer_state,
    save_tree,
)
from cign.utils.devices import move_to
from cign.utils.progress import Measuring, Progress, Silent
from cign.utils.seeding import seed_torch, stream

SAVE_EVERY_STEPS = 16
"""Of several processes: steps between the moments at which a checkpoint may be written."""
# Keys of the random streams that are not a step's.
_BEFORE_TASK, _SHUFFLE, _STEP, _AFTER_TASK = range(4)


@dataclass(kw_only=True)
class Loop:
    """One run of one method over a sequence of tasks.

    Attributes:
        method: What learns.
        clips: Targets and tasks of all clips.
        source: Reads clips by index.
        train: Training clips that may be used, shape [n].
        test: Clips that are scored after every task, in the order of ``predictions``.
        test_source: Reads those clips where they lie in another store; None reads ``source``.
        memory: Exemplars; its budget is 0 where none are kept.
        predictions: Scores so far.
        seed: Of the run.
        checkpoint: Where to save; None keeps nothing.
        predictions_path: Where the scores go after every task; None keeps them in memory.
        checkpoint_every_s: Seconds between checkpoints within a phase; 0 saves at every step.
        stop_after: Steps after which `run` returns, for tests.
        device: Where to compute.
        progress: Told of steps.
        after_task: Called when a task is learned, scored and saved.
        comm: The processes that share the batches; by default this one alone.

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

    def __post_init__(self) -> None:
        if not self.comm.is_alone:
            refuse_whole_batch(self.method, keeps_clips=self.memory.budget.amount > 0)
        self.place = Place()
        self.seconds = 0.0
        self.losses: list[dict[str, Any]] = []  # one entry for each epoch
        self._sums: dict[str, Tensor] = {}
        self._optimizer: torch.optim.Optimizer | None = None
        self._saved_optimizer: dict[str, Any] | None = None
        self._last_save = self._last_tick = time.monotonic()
        self._steps_done = 0
        self._saved: Place | None = None  # what the checkpoint holds
        # Of several processes each would have to know of the others' interrupts.
        self._interrupts = Interrupts(holds=self.comm.is_alone)
        self._phase: Phase | None = None  # within which sums are this process's part
        move_to(self.method, self.device)

    # ---------------------------------------------------------------- the loop

    def run(self) -> None:
        """Learn all tasks that are left, saving as it goes; Ctrl-C is `Interrupted` once saved."""
        with nullcontext() if self.checkpoint is None else self._interrupts.held_back(self._kept):
            self._run()

    def _run(self) -> None:
        """Learn all tasks that are left."""
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
            for number in range(self.place.phase, len(phases)):
                self._run_phase(task, number, phases[number])
                if self._stopping():
                    return
            seed_torch(self.seed, _AFTER_TASK, task)
            self.method.eval()
            self.method.after_task(data)
            self._feed.choose_exemplars(self.memory, self.method, data)
            self.method.after_memory(replace(data, memory=self.memory.indices))
            self.method.data = None
            self._score(task)
            self.place = Place(task + 1)
            self.save()
            self.after_task()
            self._interrupts.leave_if_asked()
        self.progress.stop()

    def _run_phase(self, task: int, number: int, phase: Phase) -> None:
        """Pass over a phase's clips, from the step where the run stands."""
        if len(phase.indices) == 0:
            raise RunError(f"task {task + 1} has no clip to learn from: check the store's splits")
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
        self._optimizer = make_optimizer(parameters, phase.options) if phase.updates else None
        if self._saved_optimizer is not None and self._optimizer is not None:
            load_optimizer_state(self._optimizer, self._saved_optimizer)
        self._saved_optimizer = None
        self._phase = phase
        self.comm.leave_to_first_(self._parts())
        for epoch in range(self.place.epoch, phase.num_epochs):
            batches = phase.batches(stream(self.seed, _SHUFFLE, task, number, epoch))
            for batch, share in self._feed.shared_batches(batches[self.place.step :], task):
                self._step(batch, phase, share)
                self.progress.advance()
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
        self._optimizer = None

    def _step(self, batch: Batch, phase: Phase, share: Share | None) -> None:
        """Learn from one batch, or this process's part of it. The host never waits here."""
        task, number, epoch, step = astuple(self.place)
        if phase.updates or share is None or share.fraction > 0:
            seed_torch(self.seed, _STEP, task, number, epoch, step)
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

    def _update(self, losses: Losses, phase: Phase, share: Share | None) -> None:
        """Take a gradient step, and count the losses."""
        assert self._optimizer is not None
        rate = phase.learning_rate(self.place.epoch * phase.steps_per_epoch + self.place.step)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        if share is not None:
            self.comm.average_gradients_(self._optimizer, share)
        self.method.after_backward(self._optimizer)
        clip_gradients(self._optimizer, phase.options.max_grad_norm)
        self._optimizer.step()
        for name, value in losses.items():
            total = self._sums.get(name, torch.zeros_like(value))
            weighted = value.detach() if share is None else share.fraction * value.detach()
            self._sums[name] = total + weighted

    def _parts(self) -> list[Tensor]:
        """What is a process's part of a sum within the phase."""
        absorbs = self._phase is not None and not self._phase.updates
        return partial_sums(self.method, self._sums, absorbs=absorbs)

    def _end_epoch(self, task: int, phase: Phase, epoch: int) -> None:
        """Note the epoch's mean losses. The host waits for the device here."""
        self.comm.sum_(self._sums.values())
        means = {name: float(total) / self.place.step for name, total in self._sums.items()}
        if not all(np.isfinite(value) for value in means.values()):
            raise RunError(
                f"the loss of task {task + 1}, epoch {epoch + 1} is not finite ({means}): "
                "use a lower learning rate"
            )
        self.losses.append({"task": task, "phase": phase.name, "epoch": epoch, **means})
        self._sums = {}
        self.place = replace(self.place, epoch=epoch + 1, step=0)

    def _loss_text(self) -> str:
        """The loss of the epoch so far, or of the one that ended. The host waits here."""
        # Within an epoch each of several processes knows the losses of its own clips alone.
        now = loss_so_far(self._sums, self.place.step) if self.comm.is_alone else ""
        return now or loss_of_epoch(self.losses, self.place.task)

    # ------------------------------------------------- around the loop: data

    @property
    def _feed(self) -> Feed:
        return Feed(clips=self.clips, source=self.source, device=self.device, comm=self.comm)

    def _task_data(self, task: int) -> TaskData:
        """What the method may see of a task."""
        tasks = self.clips.tasks
        earlier = self.clips.up_to(self.train, task - 1) if task else self.train[:0]
        return TaskData(
            task=task,
            num_old=tasks.num_seen(task) - tasks.sizes[task],
            num_new=tasks.sizes[task],
            new=self.clips.of_task(self.train, task),
            memory=self.memory.indices,
            earlier=earlier if self.method.replays_everything else earlier[:0],
            batches=lambda indices: self._feed.batches(cut(indices, EVALUATION_BATCH), task),
            class_of=self.clips.class_of,
            features=lambda indices: self._feed.features(self.method, indices, task),
            bytes_per_clip=self.source.bytes_per_clip,
            seed=self.seed,
        )

    def _score(self, task: int) -> None:
        """Score all test clips on the classes seen so far, those of later tasks too."""
        self.comm.take_from_first_(self.method.state_dict().values())
        self.progress.start(f"task {task + 1} test", len(self.test))
        source = self.test_source or self.source
        scores = self._feed.scores(self.method, source, self.test, self.progress)
        self.predictions.add_task(scores)
        if self.predictions_path is not None:
            self.predictions.save(self.predictions_path)

    # --------------------------------------------- around the loop: checkpoint

    def _due(self) -> bool:
        """Whether it is time for a checkpoint; of several processes the first one decides."""
        if not self.comm.is_alone and self._steps_done % SAVE_EVERY_STEPS:
            return False
        late = time.monotonic() - self._last_save >= self.checkpoint_every_s
        return self.comm.first_says(late and self.checkpoint is not None)

    def _kept(self) -> str:
        if self._saved is None:
            return "nothing is kept"
        return f"{self._saved.words(self.clips.tasks.num_tasks)} is kept"

    def _stopping(self) -> bool:
        return self.stop_after is not None and self._steps_done >= self.stop_after

    def save(self) -> None:
        """Write all state; of several processes the first one, to which the parts of sums move."""
        if self._phase is not None:
            self.comm.average_statistics_(self.method)
            self.comm.move_to_first_(self._parts())
        now = time.monotonic()
        self.seconds += now - self._last_tick
        self._last_tick = self._last_save = now
        if self.checkpoint is None:
            return
        in_phase = self._optimizer is not None
        save_tree(
            self.checkpoint,
            {
                "place": asdict(self.place),
                "class_counts": self.method.class_counts,
                "method": dict(self.method.state_dict()),
                "optimizer": optimizer_state(self._optimizer) if in_phase else None,  # type: ignore[arg-type]
                "memory": self.memory.state(),
                "sums": self._sums,
                "losses": self.losses,
                "seconds": self.seconds,
                "num_threads": torch.get_num_threads(),
            },
        )
        self._saved = self.place

    def resume(self) -> None:
        """Go back to the checkpoint; `run` then goes on from there.

        Raises:
            InputError: If the checkpoint is missing, damaged or does not fit the method.
        """
        assert self.checkpoint is not None
        tree = load_tree(self.checkpoint)
        torch.set_num_threads(tree["num_threads"])
        self.place = self._saved = Place(**tree["place"])
        for num_new in tree["class_counts"]:
            self.method.grow(num_new)
        self.method.make_room(tree["method"])
        load_module(self.method, tree["method"], str(self.checkpoint))
        self.method.to(self.device)
        self.memory.load_state(tree["memory"])
        self._saved_optimizer = tree["optimizer"]
        self._sums = {name: total.to(self.device) for name, total in tree["sums"].items()}
        self.losses, self.seconds = tree["losses"], tree["seconds"]
        del self.predictions.scores[self.place.task :]
        if self.predictions.num_tasks_done != self.place.task:
            raise InputError(
                f"predictions beside {self.checkpoint} end at task "
                f"{self.predictions.num_tasks_done}, the checkpoint at {self.place.task}: "
                "restore predictions.parquet or run without --resume in a new folder"
            )
