"""Read a file to which another program still writes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event

_POLL_S = 0.05
_SHORTENED, _REPLACED = "it was shortened", "it was replaced"


class GrowingFile:
    """A file object for PyAV whose `read` waits for data that are not yet written.

    The end is reached when the file has not grown for some time, or was deleted, shortened or
    replaced by another file of its name.

    Args:
        path: The file.
        idle_s: Seconds without growth after which the file is finished.
        stopped: Ends waiting.
        start: Position in bytes at which reading starts.
    """

    def __init__(self, path: Path, idle_s: float, stopped: Event, start: int = 0) -> None:
        self._file = path.open("rb")
        self._file.seek(start)
        self._path = path
        self._idle_s = idle_s
        self._stopped = stopped
        self.start = self.position = start
        self.has_caught_up = False
        self.ended_by = ""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, as soon as there are some; none at the end."""
        since_s = time.monotonic()
        while not self._stopped.is_set():
            data = self._file.read(size)
            if data:
                self.position += len(data)
                return data
            self.has_caught_up = True
            self.ended_by = self._gone()
            if self.ended_by or time.monotonic() - since_s >= self._idle_s:
                return b""
            self._stopped.wait(_POLL_S)
        return b""

    @property
    def is_replaced(self) -> bool:
        """Whether another file, or another content, is under the name now."""
        return self.ended_by in (_SHORTENED, _REPLACED)

    def _gone(self) -> str:
        """Why nothing more can follow; empty while more may follow."""
        mine = os.fstat(self._file.fileno())
        if mine.st_size < self.position:
            return _SHORTENED
        try:
            named = self._path.stat()
        except OSError:
            return "it was deleted or renamed"
        return "" if os.path.samestat(mine, named) else _REPLACED

    def close(self) -> None:
        """Close the file."""
        self._file.close()
