"""The logger ``tensorboard``: event files in the run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.tracking.named_values import NamedValues
from cign.tracking.registry import CALLBACKS, need
from cign.training.callbacks import RunStart, TaskEnd

FOLDER = "tensorboard"


class TensorBoardLog(NamedValues):
    """Writes event files to ``steps``, ``epochs`` and ``tasks``, which TensorBoard shows as runs.

    The horizontal axis is the number of the step, the epoch or the task. A resumed run marks what
    lies beyond its checkpoint as superseded, and TensorBoard drops it.

    Args:
        folder: Folder of these three; None takes ``tensorboard`` in the run folder.

    Raises:
        InputError: If the package tensorboard is not installed.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        need("tensorboard", "tensorboard")
        self._given = None if folder is None else Path(folder)
        self._writers: dict[str, Any] = {}

    def on_run_start(self, run: RunStart) -> None:
        """Open the event files.

        Raises:
            InputError: If there is no folder to write to.
        """
        from torch.utils.tensorboard import SummaryWriter

        if self._given is None and run.folder is None:
            raise InputError(
                "missing-option",
                "the tensorboard logger has no folder: give out=, or TensorBoardLog(folder) as the "
                "callback",
            )
        folder = self._given or Path(str(run.folder)) / FOLDER
        _wait_for_later_name(folder)
        done = {"steps": run.steps_done, "epochs": run.epochs_done, "tasks": run.tasks_done}
        for name, number in done.items():
            purge = number + 1 if run.resumed else 0
            self._writers[name] = SummaryWriter(str(folder / name), purge_step=purge)
        if not run.resumed:
            config = json.dumps(dict(run.config), indent=2, default=str)
            text = "\n".join(f"    {line}" for line in config.splitlines())
            self._writers["tasks"].add_text("config", text, 0)

    def write(self, axis: str, number: int, values: Mapping[str, float]) -> None:
        """Write values to the event files of their axis."""
        for name, value in values.items():
            self._writers[f"{axis}s"].add_scalar(name, value, number)

    def on_task_end(self, task: TaskEnd) -> None:
        """Write the metrics, and flush."""
        super().on_task_end(task)
        self.on_checkpoint()

    def on_checkpoint(self) -> None:
        """Flush."""
        for writer in self._writers.values():
            writer.flush()

    def on_run_end(self, metrics: Mapping[str, Any]) -> None:
        """Close the files."""
        self._close()

    def on_failure(self, error: BaseException) -> None:
        """Close the files."""
        self._close()

    def _close(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()


def _wait_for_later_name(folder: Path) -> None:
    """Wait until new event files sort behind those of an earlier part of the run.

    TensorBoard reads the files in the order of their names, which begin with the time in seconds.
    """
    names = [path.name.split(".") for path in folder.glob("*/events.out.tfevents.*")]
    newest = max((int(parts[3]) for parts in names if parts[3].isdecimal()), default=0)
    if newest >= int(time.time()):
        time.sleep(1.0)


CALLBACKS.register("tensorboard", TensorBoardLog)
