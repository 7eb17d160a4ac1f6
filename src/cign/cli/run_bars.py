"""Progress of a bench: a bar for all runs and one for each active run, or plain lines."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from cign.utils.terminal import make_bars, show_device, until_restored
from cign.utils.wording import duration

if TYPE_CHECKING:
    from cign.bench.runner import View

_REFRESH_EVERY_S = 0.1
_LINE_EVERY_S = 30.0


class RunLines:
    """For logs and pipes: a line for each run that ends, and a line every 30 s in between."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._last_line = time.monotonic()
        self._num_done = self._num_runs = self._num_before = 0
        self._begin = self._last_line

    def begin(self, num_runs: int, num_done: int) -> None:
        """See `cign.bench.runner.View`."""
        self._num_runs, self._num_done = num_runs, num_done
        self._begin, self._num_before = time.monotonic(), num_done
        self._line(f"{num_done} of {num_runs} runs done before")

    def moved(self, name: str, stage: str, done: int, total: int) -> None:
        """See `cign.bench.runner.View`."""
        if time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._line(f"{name}: {stage}, {done} of {total}")

    def ended(self, name: str, seconds: float, error: str | None) -> None:
        """See `cign.bench.runner.View`."""
        self._num_done += error is None
        outcome = f"failed: {error}" if error else f"{self._num_done} of {self._num_runs} done"
        self._line(f"{name}, {seconds:.0f} s, {outcome}{self._time_left()}")

    def stop(self) -> None:
        """See `cign.bench.runner.View`."""

    def _time_left(self) -> str:
        """Estimated time for the remaining runs, from the mean time of those finished so far."""
        made, left = self._num_done - self._num_before, self._num_runs - self._num_done
        if not made or not left:
            return ""
        return f", about {duration((time.monotonic() - self._begin) / made * left)} left"

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        print(text, file=self._stream or sys.stderr, flush=True)


class RunBars:
    """For terminals. Drawn from the calls themselves, without an extra thread."""

    def __init__(self) -> None:
        self._bars = make_bars("stage")
        self._all: Any = None
        self._running: dict[str, Any] = {}
        self._last_refresh = 0.0

    def begin(self, num_runs: int, num_done: int) -> None:
        """See `cign.bench.runner.View`."""
        self._bars.start()
        self._all = self._bars.add_task("all runs", total=num_runs, completed=num_done, stage="")
        self._bars.refresh()

    def moved(self, name: str, stage: str, done: int, total: int) -> None:
        """See `cign.bench.runner.View`."""
        if name not in self._running:
            self._running[name] = self._bars.add_task(name, total=total, stage=stage)
        self._bars.update(self._running[name], completed=done, total=total, stage=stage)
        now = time.monotonic()
        if now - self._last_refresh >= _REFRESH_EVERY_S:
            self._last_refresh = now
            self._bars.refresh()

    def ended(self, name: str, seconds: float, error: str | None) -> None:
        """See `cign.bench.runner.View`."""
        if name in self._running:
            self._bars.remove_task(self._running.pop(name))
        if error is None:
            self._bars.advance(self._all)
        else:
            self._bars.console.print(f"{name} failed: {error}", markup=False)
        self._bars.refresh()

    def stop(self) -> None:
        """See `cign.bench.runner.View`."""
        if self._all is not None:
            for task in self._running.values():
                self._bars.remove_task(task)
            self._running.clear()
            self._bars.refresh()
            self._bars.stop()
            self._all = None


class _WithDevice:
    """Shows the device before the first run, after the bench has passed all checks."""

    def __init__(self, view: RunBars | RunLines, device: str) -> None:
        self._view, self._device = view, device
        self.moved, self.ended, self.stop = view.moved, view.ended, view.stop

    def begin(self, num_runs: int, num_done: int) -> None:
        """See `cign.bench.runner.View`."""
        show_device(self._device)
        self._view.begin(num_runs, num_done)


def make_run_view(device: str | None = None) -> View:
    """Bars if standard error is a terminal, lines otherwise.

    Args:
        device: Device of the runs, to be shown; None shows nothing.
    """
    view = until_restored(RunBars() if sys.stderr.isatty() else RunLines())
    return view if device is None else _WithDevice(view, device)
