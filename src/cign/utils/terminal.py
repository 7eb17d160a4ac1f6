"""Terminal output: progress and notes on standard error, results on standard output."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

from cign.utils.wording import duration

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_EVERY_S = 10.0
_REFRESH_EVERY_S = 0.1
_MEASURE_EVERY_S = 1.0


class _Stage:
    """A stage of work: its progress, rate and remaining time."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self.begin = time.monotonic()
        self.unit, self.detail = "", _nothing
        self._counted_from: tuple[float, int] | None = None

    def advance(self, steps: int, now: float) -> None:
        """Count. The first call is excluded from the rate: earlier work, or warm-up."""
        self.done += steps
        if self._counted_from is None:
            self._counted_from = now, self.done

    def rate(self, now: float) -> float | None:
        """Steps per second; None before it can be measured."""
        since, before = self._counted_from or (now, self.done)
        return (self.done - before) / (now - since) if now > since and self.done > before else None

    def measured(self, now: float) -> list[str]:
        """Rate, and the stage's own detail, as texts."""
        rate, detail = self.rate(now), self.detail()
        if rate is None:
            return [detail] if detail else []
        number = f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
        per_second = f"{number} {self.unit}/s" if self.unit else f"{number}/s"
        return [per_second, detail] if detail else [per_second]

    def line(self, now: float) -> str:
        """One line about the running stage."""
        count = f"{self.done} of {self.total} {self.unit}".rstrip()
        rate = self.rate(now)
        left = [] if rate is None else [f"{duration((self.total - self.done) / rate)} left"]
        return f"{self.title}: " + ", ".join([count, *self.measured(now), *left])

    def last_line(self, now: float) -> str:
        """One line about the finished stage."""
        detail = self.detail()
        parts = [f"{self.done} of {self.total}", f"{now - self.begin:.1f} s"]
        return f"{self.title}: " + ", ".join([*parts, detail] if detail else parts)


def _nothing() -> str:
    return ""


class PlainProgress:
    """For logs and pipes: a line every ten seconds and at the end of a stage."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._stage: _Stage | None = None

    def start(self, title: str, total: int) -> None:
        """Start a stage."""
        self.stop()
        self._stage = _Stage(title, total)
        self._last_line = self._stage.begin

    def measure(self, unit: str, detail: Callable[[], str]) -> None:
        """See `cign.utils.progress.Measuring`."""
        assert self._stage is not None
        self._stage.unit, self._stage.detail = unit, detail

    def advance(self, steps: int = 1) -> None:
        """Count; show a line at most every ten seconds."""
        assert self._stage is not None
        now = time.monotonic()
        self._stage.advance(steps, now)
        if now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            self.note(self._stage.line(now))

    def note(self, text: str) -> None:
        """Show a line."""
        print(text, file=self._stream or sys.stderr, flush=True)

    def stop(self) -> None:
        """End the stage with a line."""
        if self._stage is not None:
            stage, self._stage = self._stage, None
            self.note(stage.last_line(time.monotonic()))


def make_bars(field: str) -> Progress:
    """Bars on standard error, each followed by the text of a field.

    They are drawn from the calls themselves, without an extra thread: worker processes are started
    while they are shown, and forking a process with threads can deadlock.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Remaining(compact=True, elapsed_when_finished=True),
        TextColumn(f"{{task.fields[{field}]}}", markup=False),
        console=Console(stderr=True, highlight=False),
        auto_refresh=False,
        # Otherwise printed text would go to the bar's stream instead of a file or a pipe.
        redirect_stdout=sys.stdout.isatty(),
    )


class BarProgress:
    """A bar at the bottom of a terminal."""

    def __init__(self) -> None:
        self._bar = make_bars("measured")
        self._task: Any = None
        self._stage: _Stage | None = None
        self._last_refresh = self._last_measured = 0.0

    def start(self, title: str, total: int) -> None:
        """Start a stage; the bars of earlier stages remain."""
        if self._task is None:
            self._bar.start()
        else:
            self._show_measured(time.monotonic())
        self._task = self._bar.add_task(title, total=total, measured="")
        self._stage = _Stage(title, total)
        self._last_measured = self._stage.begin
        self._bar.refresh()

    def measure(self, unit: str, detail: Callable[[], str]) -> None:
        """See `cign.utils.progress.Measuring`."""
        assert self._stage is not None
        self._stage.unit, self._stage.detail = unit, detail

    def advance(self, steps: int = 1) -> None:
        """Advance the bar; redraw at most ten times a second."""
        assert self._stage is not None
        now = time.monotonic()
        self._bar.advance(self._task, steps)
        self._stage.advance(steps, now)
        if now - self._last_refresh >= _REFRESH_EVERY_S:
            self._last_refresh = now
            if now - self._last_measured >= _MEASURE_EVERY_S:
                self._show_measured(now)
            self._bar.refresh()

    def _show_measured(self, now: float) -> None:
        """Show rate and loss after the bar."""
        if self._stage is not None:
            self._last_measured = now
            self._bar.update(self._task, measured=", ".join(self._stage.measured(now)))

    def note(self, text: str) -> None:
        """Show a line above the bar."""
        self._bar.console.print(text, markup=False)

    def stop(self) -> None:
        """Leave the finished bars on screen and release the terminal."""
        if self._task is not None:
            self._show_measured(time.monotonic())
            self._bar.refresh()
            self._bar.stop()
            for task in list(self._bar.task_ids):
                self._bar.remove_task(task)
            self._task = self._stage = None


class Shown(Protocol):
    """A live display that must be stopped."""

    def stop(self) -> None:
        """Stop the display."""


S = TypeVar("S", bound=Shown)
_shown: list[Shown] = []


def until_restored(view: S) -> S:
    """Register a live display that `restore` stops."""
    _shown.append(view)
    return view


def make_progress() -> PlainProgress | BarProgress:
    """A bar if standard error is a terminal, lines otherwise."""
    return until_restored(BarProgress() if sys.stderr.isatty() else PlainProgress())


def restore() -> None:
    """Restore the terminal by stopping all live displays."""
    while _shown:
        _shown.pop().stop()


def fitted(text: str, stream: TextIO) -> str:
    """A line broken between words if the stream is a terminal, and unchanged otherwise.

    Further lines are indented by two columns more than the first one.
    """
    if not stream.isatty():
        return text
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return textwrap.fill(
        text,
        shutil.get_terminal_size().columns,
        subsequent_indent=indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(text: str = "", *, fit: bool = False) -> None:
    """Write a line of results to standard output; with ``fit`` broken as by `fitted`."""
    print(fitted(text, sys.stdout) if fit else text)


def rule_character() -> str:
    """Character of the lines in tables on standard output: ``-`` if it does not accept ``─``."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return "─" if "utf" in encoding.lower() else "-"


def note(text: str) -> None:
    """Write a note to standard error, separate from results."""
    print(fitted(f"cign: {text}", sys.stderr), file=sys.stderr)


def show_device(device: str) -> None:
    """Write the compute device to standard error before the work starts.

    Args:
        device: As returned by `cign.utils.devices.resolve_device`.
    """
    from cign.utils.devices import describe_device

    print(f"device: {describe_device(device)}", file=sys.stderr, flush=True)


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[Any]], *, num_text: int = 1
) -> None:
    """Write a table to standard output.

    Args:
        headings: One per column.
        rows: Values, shown with ``str``; None as a dash.
        num_text: Number of leading text columns, aligned left; the others are numbers.
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
    # A pipe has no width, so the table is not truncated.
    width = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, width=width, highlight=False).print(table)


def percent(value: float | None) -> str | None:
    """A number in percent with one decimal."""
    return None if value is None else f"{value:.1f}"
