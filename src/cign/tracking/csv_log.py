"""The logger ``csv``: three tidy tables in the run folder, one row for each value."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from cign.errors import InputError
from cign.tracking.registry import CALLBACKS, Logger
from cign.training.callbacks import EpochEnd, RunStart, StepEnd, TaskEnd
from cign.utils.files import write_text

FOLDER = "log"
COLUMNS = {
    "steps": ("step", "task", "phase", "epoch", "name", "value"),
    "epochs": ("number", "step", "task", "phase", "epoch", "name", "value"),
    "tasks": ("task", "step", "name", "value"),
}


class CsvLog(Logger):
    """Writes ``steps.csv``, ``epochs.csv`` and ``tasks.csv``.

    The first column of each table is the number of the step, the epoch or the task. A resumed run
    first removes the rows beyond its checkpoint.

    Args:
        folder: Folder of the tables; None takes ``log`` in the run folder.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self._given = None if folder is None else Path(folder)
        self._files: dict[str, TextIO] = {}

    def on_run_start(self, run: RunStart) -> None:
        """Open the tables; keep the rows of the state that a resumed run goes on from.

        Raises:
            InputError: If there is no folder to write to.
        """
        folder = self._given
        if folder is None:
            if run.folder is None:
                raise InputError(
                    "missing-option",
                    "the csv logger has no folder: give out=, or CsvLog(folder) as the callback",
                )
            folder = run.folder / FOLDER
        done = {"steps": run.steps_done, "epochs": run.epochs_done, "tasks": run.tasks_done}
        for name, columns in COLUMNS.items():
            path = folder / f"{name}.csv"
            rows = _rows_up_to(path, columns, done[name]) if run.resumed else []
            write_text(path, _text([columns, *rows]))
            self._files[name] = path.open("a", encoding="utf-8", newline="")

    def on_step_end(self, step: StepEnd) -> None:
        """Write the losses and the learning rate."""
        facts = (step.number, step.task, step.phase, step.epoch)
        self._write("steps", facts, {**step.losses, "learning_rate": step.learning_rate})

    def on_epoch_end(self, epoch: EpochEnd) -> None:
        """Write the mean losses."""
        facts = (epoch.number, epoch.step, epoch.task, epoch.phase, epoch.epoch)
        self._write("epochs", facts, epoch.losses)
        self.on_checkpoint()

    def on_task_end(self, task: TaskEnd) -> None:
        """Write the metrics."""
        self._write("tasks", (task.number, task.step), task.metrics)
        self.on_checkpoint()

    def on_checkpoint(self) -> None:
        """Flush."""
        for file in self._files.values():
            file.flush()

    def on_run_end(self, metrics: Mapping[str, object]) -> None:
        """Close the tables."""
        self._close()

    def on_failure(self, error: BaseException) -> None:
        """Close the tables."""
        self._close()

    def _write(self, table: str, facts: tuple[int | str, ...], values: Mapping[str, float]) -> None:
        # Shortest text that reads back as the same number.
        rows = [(*facts, name, repr(float(value))) for name, value in values.items()]
        self._files[table].write(_text(rows))

    def _close(self) -> None:
        while self._files:
            self._files.popitem()[1].close()


def _text(rows: list[tuple[int | str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rows_up_to(path: Path, columns: tuple[str, ...], last: int) -> list[tuple[int | str, ...]]:
    """The complete rows of a table up to a number; a torn last row is beyond it."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    whole = [row for row in rows if len(row) == len(columns) and row[0].isdecimal()]
    return [tuple(row) for row in whole if int(row[0]) <= last]


CALLBACKS.register("csv", CsvLog)
