"""Default progress display: in terminals and notebooks only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from cign.utils.progress import Progress, Silent

_REFRESH_EVERY_S = 0.2


class LineProgress:
    """One line that is overwritten, for notebooks without widgets.

    Args:
        stream: Output stream; default: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._title = ""
        self._total = self._done = self._width = 0

    def start(self, title: str, total: int) -> None:
        """Start a stage on a new line."""
        self.stop()
        self._title, self._total, self._done = title, total, 0
        self._begin = self._last = time.monotonic()
        self._draw()

    def advance(self, steps: int = 1) -> None:
        """Count, and redraw the line at most five times a second."""
        self._done += steps
        now = time.monotonic()
        if now - self._last >= _REFRESH_EVERY_S:
            self._last = now
            self._draw()

    def note(self, text: str) -> None:
        """Write a line above the progress line."""
        self._write("\r" + text.ljust(self._width) + "\n")
        self._width = 0
        if self._title:
            self._draw()

    def stop(self) -> None:
        """End the stage and show its duration."""
        if self._title:
            self._draw(f"{time.monotonic() - self._begin:.1f} s")
            self._write("\n")
            self._title, self._width = "", 0

    def _draw(self, time_text: str = "") -> None:
        took_s = time.monotonic() - self._begin
        if not time_text and self._done:
            left_s = took_s / self._done * max(self._total - self._done, 0)
            time_text = f"about {left_s:.0f} s left"
        text = f"{self._title}: {self._done} of {self._total}"
        text = f"{text}, {time_text}" if time_text else text
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)

    def _write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        stream.write(text)
        stream.flush()


def is_notebook() -> bool:
    """Whether this code runs in a notebook kernel."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@contextlib.contextmanager
def displayed(progress: Progress | bool | None) -> Iterator[Progress]:
    """The progress object to report to.

    Args:
        progress: A progress object; None shows one in a terminal or notebook; True always shows
            one; False shows none.

    Yields:
        The given object unchanged, or a new one that is stopped at the end.
    """
    if progress is not None and not isinstance(progress, bool):
        yield progress
        return
    shown: Progress = Silent()
    if progress is not False:
        if is_notebook():
            shown = LineProgress()
        elif sys.stderr.isatty():
            from cign.utils.terminal import BarProgress

            shown = BarProgress()
        elif progress:
            from cign.utils.terminal import PlainProgress

            shown = PlainProgress()
    try:
        yield shown
    finally:
        shown.stop()
