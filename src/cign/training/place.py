"""The position of a run: task, phase, epoch, step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Position of a run: the next step.

    Attributes:
        task: Task, from 0; equals the number of tasks when all are done.
        phase: Phase of the task; -1 before the task has begun.
        epoch: Epoch of the phase.
        step: Step of the epoch.
    """

    task: int = 0
    phase: int = -1
    epoch: int = 0
    step: int = 0

    def words(self, num_tasks: int) -> str:
        """What was learned before this position, as text."""
        if self.phase < 0:
            return f"{self.task} of {num_tasks} tasks"
        return f"task {self.task + 1}/{num_tasks} up to step {self.step} of epoch {self.epoch + 1}"
