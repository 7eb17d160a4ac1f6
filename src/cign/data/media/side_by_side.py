"""Run generators concurrently in threads, and yield their items in the order of the generators."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 0.1


class Pause:
    """Marker in a stream: no further input has arrived, so pass on all previous items."""


PAUSE = Pause()


def num_threads() -> int:
    """Return the number of threads that decode concurrently: one per core, at most eight."""
    return min(8, len(os.sched_getaffinity(0)))


def side_by_side(
    makers: Iterable[Callable[[], Iterator[T]] | Pause], *, threads: int, ahead: int, depth: int
) -> Iterator[T | Pause]:
    """Run generators in threads; yield their items in the order of the generators.

    Each generator runs in a single thread, and its items do not depend on the number of threads.
    Memory is bounded: at most ``ahead`` generators are active, each with at most ``depth`` queued
    items.

    Args:
        makers: Functions that each create a generator; the iterable is advanced on demand. At a
            `Pause`, it is not advanced until all previous items are passed on, so that advancing
            it may block.
        threads: Number of generators that run at a time.
        ahead: Number of generators that run, are queued, or have ended with items not passed on.
        depth: Maximum of queued items per generator.

    Yields:
        The items, and each `Pause` in its position. An exception of a generator is raised in its
        position.
    """
    stopped = threading.Event()
    makers = iter(makers)
    with ThreadPoolExecutor(threads) as pool:
        active: deque[_Run[T]] = deque()
        try:
            while True:
                pause = None
                for make in islice(makers, max(ahead, threads) - len(active)):
                    if isinstance(make, Pause):
                        pause = make
                        break
                    run = _Run(make, depth, stopped)
                    active.append(run)
                    # The pool starts them in order, so the first generator is never delayed.
                    pool.submit(run.work)
                if pause is not None:
                    while active:
                        yield from active[0].items()
                        active.popleft()
                    yield pause
                    continue
                if not active:
                    return
                yield from active[0].items()
                active.popleft()
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)


class _End:
    """End of a generator's items, with its exception if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Run(Generic[T]):
    """One generator and its queued items."""

    def __init__(
        self, make: Callable[[], Iterator[T]], depth: int, stopped: threading.Event
    ) -> None:
        self._make = make
        self._queue: Queue[T | _End] = Queue(depth)
        self._stopped = stopped

    def work(self) -> None:
        """Run to the end, or until stopped."""
        error = None
        try:
            for item in self._make():
                if not self._put(item):
                    return
        except BaseException as raised:  # raised again in the reader's thread
            error = raised
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        """Wait for space in the queue; return False if stopped."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except Full:
                continue
            return True
        return False

    def items(self) -> Iterator[T]:
        """Yield the items as they arrive."""
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
