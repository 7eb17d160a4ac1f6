"""Learning in the background: Label Studio waits for a webhook one second only."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cign.errors import CignError
from cign.integrations.label_studio.learning import Batch

_KEPT = 100
# Another process that changes the model is waited for this long, in all.
_PATIENCE_S = 60.0


class Jobs:
    """Learns in a thread of its own, one job at a time.

    Args:
        learn: Learns what changed.
        tell: Receives one sentence per job, and one per problem.
        patience_s: How long to wait for another process that is changing the model.
    """

    def __init__(
        self,
        learn: Callable[[], Batch],
        tell: Callable[[str], None],
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._learn, self._tell, self._patience_s = learn, tell, patience_s
        self._jobs: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._changed = threading.Condition()
        self._waiting: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cign-label-studio", daemon=True)
        self._thread.start()

    def request(self) -> str:
        """Request learning; a job that has not begun yet covers several requests.

        Returns:
            The name of the job.
        """
        with self._changed:
            if self._waiting is None:
                self._waiting = uuid.uuid4().hex
                self._jobs[self._waiting] = {"job": self._waiting, "job_status": "queued"}
                while len(self._jobs) > _KEPT:
                    self._jobs.popitem(last=False)
                self._changed.notify_all()
            return self._waiting

    def status(self, name: object) -> dict[str, Any] | None:
        """State of a job: ``job``, ``job_status``, and ``result`` or ``error``; None if unknown."""
        with self._changed:
            found = self._jobs.get(name) if isinstance(name, str) else None
            return None if found is None else dict(found)

    def last(self) -> dict[str, Any] | None:
        """State of the latest job; None if there was none."""
        with self._changed:
            return dict(next(reversed(self._jobs.values()))) if self._jobs else None

    @property
    def is_running(self) -> bool:
        """Whether a job is waiting or running."""
        last = self.last()
        return last is not None and last["job_status"] in ("queued", "started")

    def stop(self) -> None:
        """End the thread after the running job."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
                if self._stopping.is_set():
                    return
                name, self._waiting = self._waiting, None
                assert name is not None
                job = self._jobs[name]
                job["job_status"] = "started"
            outcome = self._attempt()
            with self._changed:
                job.update(outcome)

    def _attempt(self) -> dict[str, Any]:
        """Learn; wait while another process changes the model."""
        left_s = self._patience_s
        for number in itertools.count():
            try:
                batch = self._learn()
            except CignError as error:
                pause_s = min(2.0**number / 4, left_s)
                if error.code in ("busy", "model-changed") and pause_s > 0:
                    left_s -= pause_s
                    if not self._stopping.wait(pause_s):
                        continue
                self._tell(f"not learned: {error}")
                return _failed(str(error), error.code)
            except Exception as error:  # a defect must not end the thread and so all learning
                self._tell(f"not learned: {type(error).__name__}: {error}")
                return _failed(f"{type(error).__name__}: {error}", "process-failed")
            for problem in batch.problems:
                self._tell(problem)
            self._tell(in_words(batch))
            return {"job_status": "finished", "result": asdict(batch)}
        raise AssertionError("unreachable")


def _failed(error: str, code: str) -> dict[str, Any]:
    return {"job_status": "failed", "error": error, "error_code": code}


def in_words(batch: Batch) -> str:
    """What a batch did, in one sentence."""
    if batch.version is None:
        return "nothing to learn: the model has learned all usable annotations"
    parts = []
    if batch.learned:
        parts.append(f"learned {batch.learned} clip{'' if batch.learned == 1 else 's'}")
    if batch.forgotten:
        parts.append(f"forgot {batch.forgotten}")
    if batch.new_classes:
        parts.append(f"new classes: {', '.join(batch.new_classes)}")
    return f"version {batch.version}: {'; '.join(parts) or 'nothing of the clips changed'}"
