"""Exclusive times of wrapped functions, as Markdown tables."""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

# A function to wrap: its class or module, its name, and its label in the table.
Wrapped = tuple[Any, str, str]


class Stopwatch:
    """Exclusive times of wrapped functions, without the time of wrapped functions they call.

    Times are of processors if ``of_processors``, so that threads that wait for each other are not
    counted twice; otherwise they are those of the clock.
    """

    def __init__(self, *, of_processors: bool = False) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.now = time.thread_time if of_processors else time.perf_counter
        self._of_thread = threading.local()

    @contextmanager
    def watching(self, *wrapped: Wrapped) -> Any:
        """Measure within this block."""
        with ExitStack() as stack:
            for place, name, what in wrapped:
                found = vars(place).get(name, getattr(place, name))
                is_class_method = isinstance(found, classmethod)
                inner = self._timed(found.__func__ if is_class_method else found, what)
                replaced = classmethod(inner) if is_class_method else inner
                stack.enter_context(mock.patch.object(place, name, replaced))
            yield

    def _timed(self, function: Callable[..., Any], what: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            inner_s = vars(self._of_thread).setdefault("inner_s", [0.0])
            inner_s.append(0.0)
            began = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                whole_s = self.now() - began
                self.seconds[what] += whole_s - inner_s.pop()
                inner_s[-1] += whole_s

        return timed

    def table(self, whole_s: float, number: int, of: str) -> list[str]:
        """Milliseconds and shares as a Markdown table, in descending order."""
        parts = dict(sorted(self.seconds.items(), key=lambda item: -item[1]))
        parts["the rest"] = whole_s - sum(parts.values())
        lines = [f"| | ms per {of} | share |", "| --- | ---: | ---: |"]
        for what, seconds in parts.items():
            lines.append(
                f"| {what} | {1e3 * seconds / number:.2f} | {100 * seconds / whole_s:.1f} % |"
            )
        lines.append(f"| total | {1e3 * whole_s / number:.2f} | |")
        return lines


def timed(
    work: Callable[[], object], *wrapped: Wrapped, warm: bool = True, of_processors: bool = False
) -> tuple[Stopwatch, float]:
    """Run the work once to warm up, unless ``warm`` is false, and once with timing."""
    if warm:
        work()
    watch = Stopwatch(of_processors=of_processors)
    now = time.process_time if of_processors else time.perf_counter
    with watch.watching(*wrapped):
        began = now()
        work()
        whole_s = now() - began
    return watch, whole_s
