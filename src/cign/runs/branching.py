"""A run that begins where another stood after a task, with other options or tasks to come."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cign.errors import InputError
from cign.metrics.predictions import Predictions
from cign.runs.configuration import RunConfig
from cign.training.loop import Loop
from cign.training.place import Place
from cign.utils.files import replacing

# Folder of a RUN with its state after each task.
STATES = "tasks"
# What may be another one's than the run's; the rest decided the state that is gone on from.
FREE = ("options", "seed", "tasks", "order", "branched_from", "device")


@dataclass(frozen=True, kw_only=True)
class Branch:
    """The state of a run after one of its tasks.

    Attributes:
        run: The RUN folder.
        task: How many tasks it had learned.
        config: Of the run.
    """

    run: Path
    task: int
    config: RunConfig

    @classmethod
    def parse(cls, text: str) -> Branch:
        """Read ``RUN@TASK``.

        Raises:
            InputError: If it is written otherwise, or there is no such run or task.
        """
        found = re.fullmatch(r"(.+)@(\d+)", text)
        if found is None:
            raise InputError(f"{text!r} is not RUN@TASK: write it like work/run@2")
        branch = cls(run=Path(found[1]), task=int(found[2]), config=RunConfig.load(Path(found[1])))
        last = len(branch.config.tasks) - 1
        if not 1 <= branch.task <= last:
            allowed = "it has one task only" if last < 1 else f"use 1 to {last}"
            raise InputError(f"run {branch.run} cannot be branched from task {found[2]}: {allowed}")
        return branch

    def __str__(self) -> str:
        return f"{self.run}@{self.task}"

    @property
    def state(self) -> Path:
        """The file of its state.

        Raises:
            InputError: If it was not kept.
        """
        kept = state_after(self.run, self.task)
        if not kept.is_file():
            raise InputError(
                f"run {self.run} keeps no state after task {self.task}: train it again with "
                "--keep-tasks"
            )
        return kept

    def configured(self, config: RunConfig) -> RunConfig:
        """The configuration of a run that begins here.

        Args:
            config: What is asked for.

        Raises:
            InputError: If what decided the state is not as it was.
        """
        for name in (part.name for part in dataclasses.fields(config)):
            was, now = getattr(self.config, name), getattr(config, name)
            if name not in FREE and was != now:
                raise InputError(
                    f"run {self.run} was made with {name} {was}, not {now}, and so is what "
                    "branches from it: leave it as it was, or start a run of its own"
                )
        if config.tasks[: self.task] != self.config.tasks[: self.task]:
            raise InputError(
                f"the first {self.task} tasks are those that run {self.run} has learned: change "
                "later ones only"
            )
        return dataclasses.replace(config, branched_from=str(self))

    def begin(self, loop: Loop) -> None:
        """Set a loop that has learned nothing to where the run stood.

        Raises:
            InputError: If the state was not kept, is of other clips, or does not fit the options.
        """
        before = Predictions.load(self.run / "predictions.parquet")
        if before.clip_ids != loop.predictions.clip_ids or before.num_tasks_done < self.task:
            raise InputError(
                f"run {self.run} was made on another store than this one: use the store it was "
                "made on"
            )
        for scores in before.scores[: self.task]:
            loop.predictions.add_task(scores)
        loop.checkpoint = self.state
        loop.resume()
        loop.checkpoint = None
        if loop.place != Place(self.task):
            raise InputError(f"{self.state} is no state after task {self.task}: restore it")


def state_after(run: Path, task: int) -> Path:
    """Where a run keeps its state after a task."""
    return run / STATES / f"{task}.safetensors"


def keep_state(run: Path, loop: Loop) -> None:
    """Keep the state after the task that was learned, where the run keeps such states."""
    if loop.checkpoint is None or not (run / STATES).is_dir():
        return
    with replacing(state_after(run, loop.place.task), flush=False) as temporary:
        try:
            os.link(loop.checkpoint, temporary)  # the next checkpoint is another file
        except OSError:
            shutil.copyfile(loop.checkpoint, temporary)
