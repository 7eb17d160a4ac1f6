"""Exclusive times of wrapped functions, as Markdown tables."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

# A function to wrap: its class or module, its name, and its label in the table.
Wrapped = tuple[Any, str, str]


class Stopwatch:
    """Exclusive times of wrapped functions, without the time of wrapped functions they call."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner_s = [0.0]

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
            self._inner_s.append(0.0)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                whole_s = time.perf_counter() - began
                self.seconds[what] += whole_s - self._inner_s.pop()
                self._inner_s[-1] += whole_s

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


def timed(work: Callable[[], object], *wrapped: Wrapped) -> tuple[Stopwatch, float]:
    """Run the work once to warm up and once with timing."""
    work()
    watch = Stopwatch()
    with watch.watching(*wrapped):
        began = time.perf_counter()
        work()
        whole_s = time.perf_counter() - began
    return watch, whole_s
