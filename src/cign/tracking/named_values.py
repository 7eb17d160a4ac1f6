"""Base classes of loggers of named values, and of those that send them to a service.

A service cannot take back what it was sent. After a resumption, its logger skips the numbers up to
the last one that the service has. They were computed before, and a resumed run is bit-exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cign.tracking.registry import Logger
from cign.training.callbacks import EpochEnd, StepEnd, TaskEnd

COSTS = ("seconds", "peak_memory_mb", "bytes_kept", "trainable_parameters")


class NamedValues(Logger):
    """A logger of values by name, each with the number of its step, epoch or task."""

    def write(self, axis: str, number: int, values: Mapping[str, float]) -> None:
        """Write values.

        Args:
            axis: ``step``, ``epoch`` or ``task``.
            number: Its number.
            values: Values by name.
        """
        raise NotImplementedError

    def on_step_end(self, step: StepEnd) -> None:
        """Write the losses and the learning rate."""
        losses = {f"loss/{name}": value for name, value in step.losses.items()}
        self.write("step", step.number, {**losses, "learning_rate": step.learning_rate})

    def on_epoch_end(self, epoch: EpochEnd) -> None:
        """Write the mean losses."""
        losses = {f"epoch_loss/{name}": value for name, value in epoch.losses.items()}
        self.write("epoch", epoch.number, losses)

    def on_task_end(self, task: TaskEnd) -> None:
        """Write the metrics."""
        self.write("task", task.number, {f"task/{k}": v for k, v in task.metrics.items()})


class Remote(NamedValues):
    """A logger that sends values to a service, each once.

    Attributes:
        sent: The last number of each axis that the service has.
    """

    sent: dict[str, int]

    def send(self, axis: str, number: int, values: Mapping[str, float]) -> None:
        """Send values; arguments as for `write`."""
        raise NotImplementedError

    def write(self, axis: str, number: int, values: Mapping[str, float]) -> None:
        """Send values unless the service has them."""
        if values and number > self.sent.get(axis, 0):
            self.send(axis, number, values)
            self.sent[axis] = number


def costs(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The costs of a finished run, from the contents of ``metrics.json``."""
    return {f"cost/{name}": float(metrics["costs"][name]) for name in COSTS}
