"""Runs of a bench on a Ray cluster; if a machine fails, its run resumes on another machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cign.bench.runner import NoView, Outcome, View, run_all
from cign.bench.worker import Job, is_done
from cign.errors import InputError
from cign.utils.cluster import Report, call_all, connected, num_cpus
from cign.utils.files import folder_lock

Runner = Callable[[Sequence[Job], int, View, Sequence[str]], Iterator[Outcome]]

# Longest time for which a process of a failed machine may still lock a run folder.
_HELD_S = 30.0


@contextlib.contextmanager
def on_engine(name: str) -> Iterator[tuple[int, Runner]]:
    """Give the number of processors of an engine and the function that makes runs on it.

    Args:
        name: ``local`` or ``ray``.
    """
    if name == "local":
        yield len(os.sched_getaffinity(0)), run_all
        return
    with connected() as ray:
        yield num_cpus(ray), partial(run_on_cluster, ray)


def run_on_cluster(
    ray: Any, jobs: Sequence[Job], num_workers: int, view: View, program: Sequence[str]
) -> Iterator[Outcome]:
    """Make runs on a cluster; see `cign.bench.runner.run_all`.

    As on one machine, each run has its own process, so that its peak memory can be measured.
    """
    calls = [(job, tuple(program)) for job in jobs]
    cpus = max((job["threads"] or 1 for job in jobs), default=1)
    how: dict[str, Any] = {"limit": num_workers, "cpus": cpus, "moved": view.moved}
    for number, machine, (seconds, outcome) in call_all(ray, make_job, calls, **how):
        folder = Path(jobs[number]["folder"])
        if outcome.error is None and not is_done(folder):
            sentence = (
                f"machine {machine} wrote {folder}, which this machine cannot see: put --out on a "
                "file system that all machines share"
            )
            outcome = Outcome(name=outcome.name, error=sentence, error_code="process-failed")
        view.ended(outcome.name, seconds, outcome.error)
        yield outcome


class _Reporting(NoView):
    """A view that only reports progress."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def moved(self, name: str, stage: str, done: int, total: int) -> None:
        """Report."""
        self._report(name, stage, done, total)


def make_job(job: Job, program: Sequence[str], report: Report) -> tuple[float, Outcome]:
    """Make a run on this machine.

    Returns:
        The duration in seconds, and the outcome.
    """
    begin = time.monotonic()
    _wait_until_free(Path(job["folder"]))
    (outcome,) = run_all([job], 1, _Reporting(report), program)
    return time.monotonic() - begin, outcome


def _wait_until_free(folder: Path) -> None:
    """Wait until the process of an earlier attempt unlocks a folder; it ends with its parent."""
    deadline = time.monotonic() + _HELD_S
    while time.monotonic() < deadline:
        try:
            with folder_lock(folder, "run folder"):
                return
        except InputError:
            time.sleep(0.2)
