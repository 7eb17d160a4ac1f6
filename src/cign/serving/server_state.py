"""What the routes of a server share."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cign.errors import InputError
from cign.saved_model.files import ABOUT, CURRENT
from cign.serving.answering import Answers
from cign.serving.metrics import Metrics
from cign.serving.model_service import ModelService
from cign.serving.settings import Settings
from cign.utils.allocator import give_back
from cign.utils.terminal import note

T = TypeVar("T")
_WATCH_S = 0.5
_FULL_EVERY = 20
_Stamp = tuple[int, int, int] | None
_RETRY_S = 0.1


class ServerState:
    """The model, its answers and the settings; passed to every router.

    Args:
        service: The model.
        settings: The settings.
        folder: Folder for uploads; the caller removes it.

    Attributes:
        service: The model.
        settings: The settings.
        folder: Folder for uploads.
        metrics: The metrics.
        answers: Predicts clips in batches.
        is_ready: Whether requests are accepted: false before the start and during the end.
    """

    def __init__(self, service: ModelService, settings: Settings, folder: Path) -> None:
        self.service, self.settings, self.folder = service, settings, folder
        self.metrics = Metrics()
        self.answers = Answers(service, settings, self.metrics)
        self.is_ready = False
        self._teaching = ThreadPoolExecutor(1, thread_name_prefix="cign-teach")
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._watched, name="cign-watch", daemon=True)

    def start(self) -> None:
        """Load what the first prediction needs, and watch the folder of the model."""
        self.service.warm_up()
        self._show_version()
        self._watch.start()
        self.is_ready = True

    def close(self) -> None:
        """End all threads; a change of the model is completed first."""
        self.is_ready = False
        self._stopped.set()
        if self._watch.ident is not None:
            self._watch.join()
        self._teaching.shutdown(wait=True)
        self.answers.close()

    async def changed(self, how: Callable[[], T]) -> T:
        """Run a change of the model in the thread for changes, then use the new version."""

        def work() -> T:
            result = self._patiently(how)
            self._refresh()
            return result

        return await asyncio.get_running_loop().run_in_executor(self._teaching, work)

    def _patiently(self, how: Callable[[], T]) -> T:
        """Run a change; while another process changes the model, wait within the time limit."""
        until = time.monotonic() + self.settings.timeout_s
        while True:
            try:
                return how()
            except InputError as error:
                if error.code != "busy" or time.monotonic() > until:
                    raise
            time.sleep(_RETRY_S)

    def _refresh(self) -> None:
        before = self.service.reload_error
        self.service.refreshed()
        after = self.service.reload_error
        if after is not None and after != before:
            note(f"version {self.service.snapshot.version} still answers: {after}")
        self._show_version()

    def _show_version(self) -> None:
        self.metrics.version.set(self.service.snapshot.version)
        self.metrics.reload_failed.set(self.service.reload_error is not None)

    def _watched(self) -> None:
        """Refresh when a file was replaced, and now and then in case a change left no trace.

        Now and then free memory is given back, too.
        """
        seen: list[_Stamp] = []
        number = 0
        while not self._stopped.wait(_WATCH_S):
            number += 1
            is_due = number % _FULL_EVERY == 0
            try:
                if is_due:
                    give_back()
                found = _stamps(self.service.place)
                if found != seen or self.service.reload_error or is_due:
                    self._refresh()
                seen = found
            except Exception as error:  # the thread must continue: the next check may succeed
                traceback.print_exception(error, file=sys.stderr)

    def health(self) -> dict[str, Any]:
        """The state for ``GET /health``."""
        snapshot = self.service.snapshot
        return {
            "live": True,
            "ready": self.is_ready,
            "model_version": snapshot.version,
            "model_checksum": snapshot.checksum,
            "num_classes": len(snapshot.model.classes),
            "reload_error": self.service.reload_error,
            "teach": self.service.can_teach,
        }


def _stamps(place: Path) -> list[_Stamp]:
    """Marks of the files that a new version replaces; much quicker than their checksums."""
    found: list[_Stamp] = []
    for name in (CURRENT, ABOUT):
        try:
            status = (place / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return found
