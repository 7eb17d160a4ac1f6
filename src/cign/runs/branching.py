"""Fork a run from a task checkpoint, with other options or other later tasks."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cign.errors import InputError
from cign.metrics.predictions import Predictions
from cign.runs.configuration import RunConfig, run_options
from cign.training.loop import Loop
from cign.training.place import Place
from cign.utils.files import replacing

# Folder in a RUN for its state after each task.
STATES = "tasks"


@dataclass(frozen=True, kw_only=True)
class Branch:
    """The state of a run after one of its tasks.

    Attributes:
        run: The RUN folder.
        task: Number of tasks learned.
        config: Configuration of the run.
    """

    run: Path
    task: int
    config: RunConfig

    @classmethod
    def parse(cls, text: str) -> Branch:
        """Read ``RUN@TASK``.

        Raises:
            InputError: If the text is malformed, or the run or task does not exist.
        """
        found = re.fullmatch(r"(.+)@(\d+)", text)
        if found is None:
            raise InputError("bad-value", f"{text!r} is not RUN@TASK: write it like work/run@2")
        branch = cls(run=Path(found[1]), task=int(found[2]), config=RunConfig.load(Path(found[1])))
        last = len(branch.config.tasks) - 1
        if not 1 <= branch.task <= last:
            allowed = "it has one task only" if last < 1 else f"use 1 to {last}"
            raise InputError(
                "bad-value", f"run {branch.run} cannot be branched from task {found[2]}: {allowed}"
            )
        return branch

    def __str__(self) -> str:
        return f"{self.run}@{self.task}"

    @property
    def state(self) -> Path:
        """The file of the state.

        Raises:
            InputError: If it was not saved.
        """
        kept = state_after(self.run, self.task)
        if not kept.is_file():
            raise InputError(
                "file-missing",
                f"run {self.run} has no saved state after task {self.task}: train it again with "
                "--keep-tasks",
            )
        return kept

    def configured(self, config: RunConfig) -> RunConfig:
        """The configuration of a run that starts from this state.

        Args:
            config: The requested configuration.

        Raises:
            InputError: If a setting that determined the state differs.
        """
        before, values = self.config.settings, config.settings
        for one in run_options():
            was, now = before[one.name], values[one.name]
            if one.affects_results and not one.may_change_in_branch and was != now:
                raise InputError(
                    "resume-mismatch",
                    f"run {self.run} was trained with {one.name} {was}, not {now}, and a branch "
                    "cannot change it: use the same value, or start a new run",
                )
        if config.tasks[: self.task] != self.config.tasks[: self.task]:
            raise InputError(
                "resume-mismatch",
                f"the first {self.task} tasks differ from those that run {self.run} learned: "
                "change later ones only",
            )
        config.arrival.check_branch(
            self.run,
            (self.config.training.seed, config.training.seed),
            same_tasks=config.tasks == self.config.tasks,
        )
        return dataclasses.replace(config, branched_from=str(self))

    def begin(self, loop: Loop) -> None:
        """Load the state into a new loop.

        Raises:
            InputError: If the state was not saved, belongs to other clips, or does not fit the
                options.
        """
        before = Predictions.load(self.run / "predictions.parquet")
        if before.clip_ids != loop.predictions.clip_ids or before.num_tasks_done < self.task:
            raise InputError(
                "store-mismatch",
                f"run {self.run} was trained on another store: use the store it was trained on",
            )
        for scores in before.scores[: self.task]:
            loop.predictions.add_task(scores)
        loop.checkpoint = self.state
        loop.resume()
        loop.checkpoint = None
        if loop.place != Place(self.task):
            raise InputError(
                "damaged", f"{self.state} is not the state after task {self.task}: restore the file"
            )


def state_after(run: Path, task: int) -> Path:
    """The file of a run's state after a task."""
    return run / STATES / f"{task}.safetensors"


def keep_state(run: Path, loop: Loop) -> None:
    """Save the state after the last task, if the run saves such states."""
    if loop.checkpoint is None or not (run / STATES).is_dir():
        return
    with replacing(state_after(run, loop.place.task), flush=False) as temporary:
        try:
            os.link(loop.checkpoint, temporary)  # safe: the next checkpoint is a new file
        except OSError:
            shutil.copyfile(loop.checkpoint, temporary)
