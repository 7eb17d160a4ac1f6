"""What is shown to a person: progress and notes on standard error, answers on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TextIO, TypeVar

_LINE_EVERY_S = 10.0
_REFRESH_EVERY_S = 0.1


class PlainProgress:
    """Sparse lines, for logs and pipes: one every ten seconds and one at the end of a stage."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._title = ""

    def start(self, title: str, total: int) -> None:
        """Begin a stage."""
        self.stop()
        self._title, self._total, self._done = title, total, 0
        self._begin = self._last_line = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Count; show a line when the last one is old."""
        self._done += steps
        now = time.monotonic()
        if now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            self.note(f"{self._title}: {self._done} of {self._total}")

    def note(self, text: str) -> None:
        """Show a line."""
        print(text, file=self._stream or sys.stderr, flush=True)

    def stop(self) -> None:
        """End the stage with a line."""
        if self._title:
            took = time.monotonic() - self._begin
            self.note(f"{self._title}: {self._done} of {self._total}, {took:.1f} s")
            self._title = ""


class BarProgress:
    """A bar at the bottom of a terminal.

    It is drawn from the calls themselves, without a thread of its own: worker processes are
    started while it is shown, and a fork beside a thread can hang.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(compact=True, elapsed_when_finished=True),
            console=self._console,
            auto_refresh=False,
        )
        self._task: Any = None
        self._last_refresh = 0.0

    def start(self, title: str, total: int) -> None:
        """Begin a stage; the bars of earlier stages stay."""
        if self._task is None:
            self._bar.start()
        self._task = self._bar.add_task(title, total=total)
        self._bar.refresh()

    def advance(self, steps: int = 1) -> None:
        """Move the bar, and redraw it at most ten times a second."""
        self._bar.advance(self._task, steps)
        now = time.monotonic()
        if now - self._last_refresh >= _REFRESH_EVERY_S:
            self._last_refresh = now
            self._bar.refresh()

    def note(self, text: str) -> None:
        """Show a line above the bar."""
        self._console.print(text, markup=False)

    def stop(self) -> None:
        """Leave the bars as they are and free the terminal."""
        if self._task is not None:
            self._bar.refresh()
            self._bar.stop()
            for task in list(self._bar.task_ids):
                self._bar.remove_task(task)
            self._task = None


class Shown(Protocol):
    """What is on the screen until it is stopped."""

    def stop(self) -> None:
        """Leave the screen."""


S = TypeVar("S", bound=Shown)
_shown: list[Shown] = []


def until_restored(view: S) -> S:
    """Have `restore` stop something that is shown."""
    _shown.append(view)
    return view


def make_progress() -> PlainProgress | BarProgress:
    """A bar where standard error is a terminal, lines elsewhere."""
    return until_restored(BarProgress() if sys.stderr.isatty() else PlainProgress())


def restore() -> None:
    """Give the terminal back as it was, whatever ended the command."""
    while _shown:
        _shown.pop().stop()


def say(text: str = "") -> None:
    """Write a line of the answer to standard output."""
    print(text)


def note(text: str) -> None:
    """Write a remark to standard error, where it cannot get into a script's input."""
    print(f"cign: {text}", file=sys.stderr)


def show_device(device: str) -> None:
    """Write to standard error what is computed on, before the work begins.

    Args:
        device: As `cign.devices.resolve_device` gives it.
    """
    from cign.devices import describe_device

    print(f"device: {describe_device(device)}", file=sys.stderr, flush=True)


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[Any]], *, num_text: int = 1
) -> None:
    """Write a table to standard output.

    Args:
        headings: One for each column.
        rows: Values, shown as they are; None as a dash.
        num_text: How many leading columns are text, aligned left; the others are numbers.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i < num_text else "right", no_wrap=i > 0)
    for row in rows:
        table.add_row(*(Text("-" if value is None else str(value)) for value in row))
    # A pipe has no width; the table shall not be cut to a guess.
    width = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, width=width, highlight=False).print(table)


def percent(value: float | None) -> str | None:
    """A number in percent with one decimal."""
    return None if value is None else f"{value:.1f}"
