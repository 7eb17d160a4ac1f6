"""Runs in parallel processes; a failed or killed process does not affect the others."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cign.bench.worker import Job, work
from cign.utils.pool import Ending, Message, Program, run_tasks

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
        error_code: The same as a code of docs/errors.md, if it has one.
        traceback: Python traceback, if there is one.
    """

    name: str
    error: str | None = None
    error_code: str | None = None
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

    def moved(job: Job, at: list[Any]) -> None:
        view.moved(job["name"], *at)

    def started(job: Job) -> Program:
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        # The log takes output of libraries, and the error output of a process that crashes.
        log = folder / "worker.log"
        return Program(command=program, num_threads=job["threads"], log=log)

    if num_workers == 0:
        endings = _run_here(jobs, moved)
    else:
        endings = run_tasks(jobs, started, num_workers=num_workers, moved=moved)
    with contextlib.closing(endings):
        for ending in endings:
            outcome = _outcome(ending)
            view.ended(outcome.name, ending.seconds, outcome.error)
            yield outcome


def _outcome(ending: Ending) -> Outcome:
    """The outcome of a run."""
    name, answer = ending.task["name"], ending.answer
    if answer is not None:
        return Outcome(
            name=name,
            error=answer.get("failed"),
            error_code=answer.get("code"),
            traceback=answer.get("traceback", ""),
        )
    if not ending.signal:
        return Outcome(
            name=name,
            error=f"its process ended with exit code {ending.exit_code}",
            error_code="process-failed",
        )
    hint = "; is there enough memory? use fewer --workers" if ending.signal == "SIGKILL" else ""
    return Outcome(
        name=name,
        error=f"its process was killed by {ending.signal}{hint}",
        error_code="process-failed",
    )


def _run_here(
    jobs: Sequence[Job], moved: Callable[[Job, Any], None]
) -> Generator[Ending, None, None]:
    """Make runs in this process."""
    for job in jobs:
        begin = time.monotonic()
        answer = work(job, partial(_report, moved, job))
        yield Ending(task=job, answer=answer, seconds=time.monotonic() - begin)


def _report(moved: Callable[[Job, Any], None], job: Job, message: Message) -> None:
    moved(job, message["at"])
