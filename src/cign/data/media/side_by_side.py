"""Generators that run side by side in threads; what they yield comes in their order."""

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
    """Stands in a stream for "nothing more has arrived": what came before shall not wait."""


PAUSE = Pause()


def num_threads() -> int:
    """Threads that decode side by side: one for each core, at most eight."""
    return min(8, len(os.sched_getaffinity(0)))


def side_by_side(
    makers: Iterable[Callable[[], Iterator[T]] | Pause], *, threads: int, ahead: int, depth: int
) -> Iterator[T | Pause]:
    """Run generators in threads; their items come in the order of the generators.

    Nothing runs in parallel within one generator, and what it yields does not depend on the number
    of threads. Memory is bounded: ``ahead`` generators are under way, each with at most ``depth``
    items that wait.

    Args:
        makers: Functions that make a generator each; asked for as they are needed. At a `Pause`
            no further one is asked for until all items of those before it are passed on, so that
            asking may block.
        threads: Generators that run at a time.
        ahead: Generators that run, wait or have ended but not been passed on.
        depth: Items of a generator that may wait.

    Yields:
        The items, and each `Pause` in its place. An exception of a generator is raised in its
        place.
    """
    stopped = threading.Event()
    makers = iter(makers)
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[_Run[T]] = deque()
        try:
            while True:
                pause = None
                for make in islice(makers, max(ahead, threads) - len(under_way)):
                    if isinstance(make, Pause):
                        pause = make
                        break
                    run = _Run(make, depth, stopped)
                    under_way.append(run)
                    # The pool begins them in order, so the first one is never kept waiting.
                    pool.submit(run.work)
                if pause is not None:
                    while under_way:
                        yield from under_way[0].items()
                        under_way.popleft()
                    yield pause
                    continue
                if not under_way:
                    return
                yield from under_way[0].items()
                under_way.popleft()
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)


class _End:
    """What ends a generator's items: an exception, or nothing."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Run(Generic[T]):
    """One generator and its items that wait."""

    def __init__(
        self, make: Callable[[], Iterator[T]], depth: int, stopped: threading.Event
    ) -> None:
        self._make = make
        self._waiting: Queue[T | _End] = Queue(depth)
        self._stopped = stopped

    def work(self) -> None:
        """Run to the end, or until nobody wants more."""
        error = None
        try:
            for item in self._make():
                if not self._put(item):
                    return
        except BaseException as raised:  # told in the reader's thread
            error = raised
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        """Wait for room; False if nobody wants more."""
        while not self._stopped.is_set():
            try:
                self._waiting.put(item, timeout=_POLL_S)
            except Full:
                continue
            return True
        return False

    def items(self) -> Iterator[T]:
        """The items as they come."""
        while True:
            item = self._waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
