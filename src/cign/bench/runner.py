"""Runs in parallel processes; a failed or killed process does not affect the others."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import cign
from cign.bench.worker import Event, Job, failure_of, make_run

# -P: a file of the working folder must not stand in for a module.
PROGRAM = (sys.executable, "-P", "-c", "from cign.bench.worker import main; main()")


class View(Protocol):
    """Displays the progress of a bench; the drawing is left to the terminal code."""

    def begin(self, num_runs: int, num_done: int) -> None:
        """Begin; some runs may be finished already."""

    def moved(self, name: str, stage: str, done: int, total: int) -> None:
        """Report the progress of a run within a stage."""

    def ended(self, name: str, seconds: float, error: str | None) -> None:
        """Report that a run is finished, or why it failed."""

    def stop(self) -> None:
        """End."""


class NoView:
    """Displays nothing; for use as a library and in tests."""

    def begin(self, num_runs: int, num_done: int) -> None:
        """Ignore."""

    def moved(self, name: str, stage: str, done: int, total: int) -> None:
        """Ignore."""

    def ended(self, name: str, seconds: float, error: str | None) -> None:
        """Ignore."""

    def stop(self) -> None:
        """Ignore."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        name: Name of the run.
        error: Why it failed, in one sentence; None if it finished.
        traceback: Python traceback, if there is one.
    """

    name: str
    error: str | None = None
    traceback: str = ""


def run_all(
    jobs: Sequence[Job],
    num_workers: int,
    view: View,
    program: Sequence[str] = PROGRAM,
) -> Iterator[Outcome]:
    """Make runs, several at a time.

    Args:
        jobs: Arguments of `cign.bench.worker.make_run`, with ``name``.
        num_workers: Number of parallel processes; 0 makes all runs in this process.
        view: Displays progress.
        program: Command line of a worker process.

    Yields:
        One outcome for each job, in order of completion. Closing the iterator early, also by an
        exception, ends the processes; the files they have saved remain.
    """
    if num_workers == 0:
        for job in jobs:
            yield _run_here(job, view)
        return
    waiting, working = deque(jobs), set[_Process]()
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or working:
                while waiting and len(working) < num_workers:
                    process = _Process(waiting.popleft(), program)
                    working.add(process)
                    selector.register(process.events, selectors.EVENT_READ, process)
                for key, _ in selector.select():
                    process = key.data
                    for event in process.read():
                        if "at" in event:
                            view.moved(process.name, *event["at"])
                    if process.has_ended:
                        selector.unregister(process.events)
                        working.remove(process)
                        outcome = process.join()
                        view.ended(process.name, process.seconds, outcome.error)
                        yield outcome
        finally:
            for process in working:
                process.process.kill()
            for process in working:
                process.join()


def _run_here(job: Job, view: View) -> Outcome:
    """Make one run in this process."""
    begin = time.monotonic()
    error, trace = None, ""
    try:
        make_run(job, _Here(job["name"], view))
    except Exception as caught:
        failure = failure_of(caught)
        error, trace = failure["failed"], failure["traceback"]
    view.ended(job["name"], time.monotonic() - begin, error)
    return Outcome(name=job["name"], error=error, traceback=trace)


class _Here:
    """Forwards the progress of a run to the view."""

    def __init__(self, name: str, view: View) -> None:
        self._name, self._view = name, view
        self._title, self._done, self._total = "", 0, 0

    def start(self, title: str, total: int) -> None:
        self._title, self._done, self._total = title, 0, total

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        self._view.moved(self._name, self._title, self._done, self._total)

    def note(self, text: str) -> None:
        pass

    def stop(self) -> None:
        pass


class _Process:
    """A worker process and its run."""

    def __init__(self, job: Job, program: Sequence[str]) -> None:
        self.name = str(job["name"])
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        root = str(Path(cign.__file__).parents[1])
        threads = str(job["threads"] or "")
        environment = dict(os.environ, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (root, environment.get("PYTHONPATH")))
        )
        self._begin = time.monotonic()
        # Output of libraries, and the error output of a process that crashes.
        with (folder / "worker.log").open("wb") as log:
            self.process = subprocess.Popen(
                list(program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input: IO[bytes] = self.process.stdin
        self.events: IO[bytes] = self.process.stdout
        self._buffer = b""
        self._last: Event = {}
        self.has_ended = False
        with contextlib.suppress(BrokenPipeError):  # `join` reports why it ended
            self._input.write(json.dumps(job).encode() + b"\n")
            self._input.flush()

    @property
    def seconds(self) -> float:
        """Time since the process was started."""
        return time.monotonic() - self._begin

    def read(self) -> list[Event]:
        """The complete events received so far."""
        chunk = os.read(self.events.fileno(), 1 << 16)
        self.has_ended = not chunk
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        events: list[Event] = [json.loads(line) for line in lines]
        if events:
            self._last = events[-1]
        return events

    def join(self) -> Outcome:
        """Wait for the process to end, and return its outcome."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self.events.close()
        code = self.process.wait()
        if "done" in self._last:  # whatever the exit code: closing its input may end it
            return Outcome(name=self.name)
        if "failed" in self._last:
            return Outcome(
                name=self.name, error=self._last["failed"], traceback=self._last["traceback"]
            )
        if code < 0:
            name = signal.Signals(-code).name
            hint = "; is there enough memory? use fewer --workers" if name == "SIGKILL" else ""
            return Outcome(name=self.name, error=f"its process was killed by {name}{hint}")
        return Outcome(name=self.name, error=f"its process ended with exit code {code}")
