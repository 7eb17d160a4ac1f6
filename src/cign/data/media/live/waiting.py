"""Windows that wait to be classified: few of each source, the newest if there are too many."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from cign.data.media.live.assembler import Window

# More than one, so that a short delay of the classifier drops nothing and a batch is worthwhile.
MOST_WAITING = 4


@dataclass(frozen=True, kw_only=True)
class Item:
    """A window of a source, a remark on it, or its end.

    Attributes:
        source: Index of the source.
        window: The window, if any.
        num_dropped: Number of windows of the source that were skipped directly before it.
        is_paced: Whether the source delivers in real time.
        note: A remark for people.
        is_end: Whether the source has ended; ``error`` and ``code`` then say why, if it failed.
        error: One sentence without the name of the source.
        code: A code of docs/errors.md.
    """

    source: int
    window: Window | None = None
    num_dropped: int = 0
    is_paced: bool = True
    note: str | None = None
    is_end: bool = False
    error: str | None = None
    code: str | None = None


class Waiting:
    """Passes items from the threads of sources to the classifier; memory is bounded.

    Args:
        num_sources: Number of sources.
    """

    def __init__(self, num_sources: int) -> None:
        self._windows: list[deque[Item]] = [deque() for _ in range(num_sources)]
        self._others: deque[Item] = deque()
        self._dropped = [0] * num_sources
        self._changed = threading.Condition()
        self.stopped = threading.Event()

    def put_window(self, item: Item, patience_s: float) -> None:
        """Add a window; if too many wait, all but the newest are dropped.

        Args:
            item: The window.
            patience_s: Seconds to wait for space first, for sources faster than real time.
        """
        waiting, until_s = self._windows[item.source], time.monotonic() + patience_s
        with self._changed:
            while len(waiting) >= MOST_WAITING and not self.stopped.is_set():
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    self._dropped[item.source] += len(waiting)
                    self._dropped[item.source] += sum(one.num_dropped for one in waiting)
                    waiting.clear()
                    break
                self._changed.wait(min(left_s, 0.5))
            num_dropped, self._dropped[item.source] = self._dropped[item.source], 0
            waiting.append(replace(item, num_dropped=num_dropped))
            self._changed.notify_all()

    def put(self, item: Item) -> None:
        """Add a remark or an end, which are never dropped."""
        with self._changed:
            self._others.append(item)
            self._changed.notify_all()

    def take(self, most: int, timeout_s: float) -> list[Item]:
        """Remove what waits, oldest first in each source, ends last; wait if there is nothing.

        Args:
            most: Most windows to take.
            timeout_s: Seconds to wait for the first item; afterwards the result is empty.
        """
        with self._changed:
            if not self._others and not any(self._windows):
                self._changed.wait(timeout_s)
            taken: list[Item] = []
            while len(taken) < most and any(self._windows):
                # In turns, so that a fast source does not delay the others.
                for waiting in self._windows:
                    if waiting and len(taken) < most:
                        taken.append(waiting.popleft())
            taken.sort(key=lambda item: item.source)
            if not any(self._windows):  # what is said of a source comes after its windows
                taken += self._others
                self._others.clear()
            self._changed.notify_all()
            return taken

    def stop(self) -> None:
        """Tell the sources to end."""
        self.stopped.set()
        with self._changed:
            self._changed.notify_all()
