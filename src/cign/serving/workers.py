"""Several processes that answer at one port.

They share the listening socket: the operating system gives each connection to one that waits for
one. Each has its own model in memory, and reloads it when the folder changes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from cign.errors import CignError, InputError, RunError
from cign.serving.metrics import forget_worker, share_metrics
from cign.serving.model_service import ModelService
from cign.serving.running import recorded_signals, run_server
from cign.serving.settings import Settings
from cign.utils.terminal import note

_POLL_S = 0.2
_RESTART_S = 1.0
_MOST_FAILED_STARTS = 3
_GRACE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker serves.

    Attributes:
        place: The MODEL folder.
        settings: The settings.
        device: Compute device.
        folder: Folder for uploads.
        metrics: Folder for shared metrics.
        threads: Threads of torch.
    """

    place: Path
    settings: Settings
    device: str
    folder: Path
    metrics: Path
    threads: int


def run_workers(
    number: int,
    place: Path,
    settings: Settings,
    taken: socket.socket,
    folder: Path,
    *,
    device: str,
    ready: Callable[[], None],
) -> bool:
    """Serve with several workers until SIGTERM or SIGINT; a worker that ends is replaced.

    Args:
        number: Number of workers.
        place: The MODEL folder.
        settings: The settings.
        taken: The bound socket.
        folder: Folder for uploads.
        device: Compute device.
        ready: Called when all workers accept requests.

    Returns:
        Whether SIGINT ended it.

    Raises:
        RunError: If workers repeatedly fail to start.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // number)
    with tempfile.TemporaryDirectory(prefix="metrics-", dir=folder) as metrics:
        share_metrics(Path(metrics))
        job = Job(
            place=place,
            settings=settings,
            device=device,
            folder=folder,
            metrics=Path(metrics),
            threads=threads,
        )
        with recorded_signals() as seen:
            team = _Team(number, job, taken)
            try:
                team.wait_until_ready(seen)
                if not seen:
                    ready()
                while not seen:
                    team.replace_ended()
            finally:
                team.end(settings.timeout_s + _GRACE_S)
            return signal.SIGINT in seen


@dataclass
class _Worker:
    process: BaseProcess
    receiver: Connection
    is_ready: bool = False


class _Team:
    """The worker processes."""

    def __init__(self, number: int, job: Job, taken: socket.socket) -> None:
        self._job, self._taken = job, taken
        self._num_failed = 0
        self._workers = [self._start() for _ in range(number)]

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(self._job, self._taken, sender), daemon=False)
        process.start()
        sender.close()
        return _Worker(process, receiver)

    def wait_until_ready(self, seen: list[int]) -> None:
        """Wait until every worker accepts requests, or a signal arrives."""
        while not seen and not all(one.is_ready for one in self._workers):
            self.replace_ended()

    def replace_ended(self) -> None:
        """Wait a moment for a worker to start or end; replace those that have ended."""
        sources = [one.process.sentinel for one in self._workers]
        pending = [one.receiver for one in self._workers if not one.is_ready]
        wait([*sources, *pending], timeout=_POLL_S)
        for place, one in enumerate(self._workers):
            if not one.is_ready and one.receiver.poll():
                self._receive(one)
            if one.process.exitcode is None:
                continue
            forget_worker(one.process.pid or 0)
            if not one.is_ready:
                self._num_failed += 1
                if self._num_failed >= _MOST_FAILED_STARTS:
                    raise RunError(
                        "process-failed",
                        f"{self._num_failed} workers ended before they were ready, the last with "
                        f"exit code {one.process.exitcode}: start one worker to see why",
                    )
            note(f"worker {one.process.pid} ended with {one.process.exitcode}: starting another")
            time.sleep(_RESTART_S)
            self._workers[place] = self._start()

    def _receive(self, one: _Worker) -> None:
        try:
            message = one.receiver.recv()
        except EOFError:  # it ended; its exit code says why
            one.process.join()
            return
        if message is not None:
            raise InputError(*message)
        one.is_ready, self._num_failed = True, 0

    def end(self, patience_s: float) -> None:
        """Ask all workers to end, and end those that do not."""
        for one in self._workers:
            one.process.terminate()
        until = time.monotonic() + patience_s
        for one in self._workers:
            one.process.join(max(0.0, until - time.monotonic()))
            if one.process.exitcode is None:
                one.process.kill()
                one.process.join()


def _work(job: Job, taken: socket.socket, sender: Connection) -> None:
    """The main function of a worker."""
    import torch

    share_metrics(job.metrics)
    torch.set_num_threads(job.threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        service = ModelService(
            job.place, teach=job.settings.teach, device=job.device, features=True
        )
    except CignError as error:
        sender.send((error.code, str(error)))
        raise SystemExit(1) from None
    run_server(service, job.settings, taken, job.folder, ready=lambda: sender.send(None))


def _end_with_parent() -> None:
    """A worker whose parent was killed would hold the port."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
