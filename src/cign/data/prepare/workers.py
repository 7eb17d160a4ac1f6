"""Decode with several processes, any of which may crash or hang at any file."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import cign
from cign.data.media.decode import MediaSpec
from cign.data.prepare.worker import Answer, Decoder, Task, failed
from cign.errors import RunError


def decode_all(
    tasks: Sequence[Task],
    spec: MediaSpec,
    folder: Path | None,
    *,
    num_workers: int | None = None,
    timeout_s: float = 300.0,
) -> Iterator[Answer]:
    """Decode clips in parallel and write them to the arrays of a store.

    Args:
        tasks: See `cign.data.prepare.worker.Decoder`.
        spec: Frames and audio to take from each clip.
        folder: The store's folder; if absent, nothing is written.
        num_workers: Worker processes; one per core if absent, none (decode in this process) if 0.
        timeout_s: Time limit per file in seconds; a file that takes longer is left out as
            unreadable.

    Yields:
        One answer per task, in order of completion. A file at which a process crashes or hangs
        has an answer too, and does not affect other files.
    """
    if num_workers is None:
        num_workers = len(os.sched_getaffinity(0))
    if num_workers == 0:
        yield from map(Decoder(spec, folder), tasks)
        return
    waiting = deque(tasks)
    retried: set[int] = set()
    workers: list[_Worker] = []
    with selectors.DefaultSelector() as selector:

        def give_task(worker: _Worker | None) -> None:
            """Send a worker its next task; start a new worker if None; stop it at the end."""
            if not waiting:
                if worker is not None:
                    selector.unregister(worker.answers)
                    worker.stop()
                    workers.remove(worker)
                return
            if worker is None:
                worker = _Worker(spec, folder)
                workers.append(worker)
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            worker.give(waiting.popleft(), timeout_s)

        try:
            for _ in range(min(num_workers, len(tasks))):
                give_task(None)
            while workers:
                now = time.monotonic()
                first = min(worker.deadline_s for worker in workers)
                for key, _ in selector.select(min(max(first - now, 0.0) + 0.01, 60.0)):
                    worker = key.data
                    answer = worker.read()
                    if answer is not None:
                        yield answer
                        give_task(worker)
                    elif worker.has_ended:
                        selector.unregister(worker.answers)
                        workers.remove(worker)
                        answer = worker.join()
                        # Retry once: the crash may have another cause, such as lack of memory.
                        if not worker.verdict and worker.task["row"] not in retried:
                            retried.add(worker.task["row"])
                            waiting.append(worker.task)
                        else:
                            yield answer
                        give_task(None)
                for worker in [w for w in workers if w.deadline_s < time.monotonic()]:
                    worker.process.kill()
                    worker.verdict = f"decoding took more than {timeout_s:g} s"
                    worker.deadline_s = float("inf")
        finally:
            for worker in workers:
                worker.process.kill()
                worker.stop()


class _Worker:
    """A worker process and its current task."""

    def __init__(self, spec: MediaSpec, folder: Path | None) -> None:
        root = str(Path(cign.__file__).parents[1])
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (root, environment.get("PYTHONPATH")))
        )
        # -P: a file of the working folder must not shadow a module.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cign.data.prepare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._tasks: IO[bytes] = self.process.stdin
        self.answers: IO[bytes] = self.process.stdout
        self._buffer = b""
        self.task: Task = {}
        self._num_answers = 0
        self.has_ended = False
        self.verdict = ""
        self.deadline_s = float("inf")
        self._send({"spec": spec.to_dict(), "folder": None if folder is None else str(folder)})

    def _send(self, value: object) -> None:
        # Ignore a process that has ended: reading its answers then reports the end.
        with contextlib.suppress(BrokenPipeError):
            self._tasks.write(json.dumps(value).encode() + b"\n")
            self._tasks.flush()

    def give(self, task: Task, timeout_s: float) -> None:
        """Send the next task."""
        self.task = task
        self.deadline_s = time.monotonic() + timeout_s
        self._send(task)

    def read(self) -> Answer | None:
        """Read available output; None if the answer is incomplete or the process has ended."""
        chunk = os.read(self.answers.fileno(), 1 << 16)
        self.has_ended = not chunk
        self._buffer += chunk
        if not self._buffer.endswith(b"\n"):
            return None
        answer: Answer = json.loads(self._buffer)
        self._buffer = b""
        self._num_answers += 1
        return answer

    def join(self) -> Answer:
        """Wait for a process that ended, and return the answer for its task.

        Raises:
            RunError: If the process gave no answer before, and did not end by a signal: then the
                file is not the cause.
        """
        self.stop()
        code = self.process.returncode
        if code > 0 and not self._num_answers:
            raise RunError(
                f"a decoding process cannot start (exit code {code}): run "
                f"`{sys.executable} -m cign.data.prepare.worker` to see the error"
            )
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return failed(
            self.task["row"], "unreadable", self.verdict or f"the decoder crashed on it ({ended})"
        )

    def stop(self) -> None:
        """Close both ends and wait for the process."""
        with contextlib.suppress(BrokenPipeError):
            self._tasks.close()
        self.answers.close()
        self.process.wait()
