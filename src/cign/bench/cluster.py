"""Runs of a bench on a Ray cluster; a run whose machine dies goes on elsewhere, where it was."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cign.bench.runner import NoView, Outcome, View, run_all
from cign.bench.worker import Job, is_done
from cign.errors import InputError
from cign.utils.cluster import call_all, connected, num_cpus
from cign.utils.files import folder_lock

Runner = Callable[[Sequence[Job], int, View, Sequence[str]], Iterator[Outcome]]

# How long the process of a machine that died may go on holding a run folder.
_HELD_S = 30.0


@contextlib.contextmanager
def on_engine(name: str) -> Iterator[tuple[int, Runner]]:
    """What makes runs, and how many processors it has.

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

    Each run has a process of its own there, too, so that its peak memory is its own.
    """
    board = ray.remote(num_cpus=0)(Board).remote()
    calls = [(job, tuple(program), board) for job in jobs]

    def tick() -> None:
        for event in ray.get(board.take.remote()):
            view.moved(*event)

    cpus = max((job["threads"] or 1 for job in jobs), default=1)
    for number, result in call_all(ray, make_job, calls, limit=num_workers, cpus=cpus, tick=tick):
        machine, seconds, outcome = result
        folder = Path(jobs[number]["folder"])
        if outcome.error is None and not is_done(folder):
            sentence = (
                f"machine {machine} wrote {folder} where this one does not see it: put --out on a "
                "file system that all machines share"
            )
            outcome = Outcome(name=outcome.name, error=sentence)
        view.ended(outcome.name, seconds, outcome.error)
        yield outcome


class Board:
    """Where the machines note how far their runs are, until it is shown."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[str, str, int, int]] = {}

    def moved(self, name: str, stage: str, done: int, total: int) -> None:
        """Note where a run stands."""
        self._at[name] = (name, stage, done, total)

    def take(self) -> list[tuple[str, str, int, int]]:
        """What was noted since the last time."""
        events = list(self._at.values())
        self._at.clear()
        return events


class _Told(NoView):
    """A view that passes on to a board."""

    def __init__(self, board: Any) -> None:
        self._board = board

    def moved(self, name: str, stage: str, done: int, total: int) -> None:
        """Pass on."""
        self._board.moved.remote(name, stage, done, total)


def make_job(job: Job, program: Sequence[str], board: Any) -> tuple[str, float, Outcome]:
    """Make a run on this machine.

    Returns:
        The machine's name, how long it took in seconds, and how it ended.
    """
    begin = time.monotonic()
    _wait_until_free(Path(job["folder"]))
    (outcome,) = run_all([job], 1, _Told(board), program)
    return platform.node(), time.monotonic() - begin, outcome


def _wait_until_free(folder: Path) -> None:
    """Wait for the process of an earlier attempt to let go of a folder; it ends with its parent."""
    deadline = time.monotonic() + _HELD_S
    while time.monotonic() < deadline:
        try:
            with folder_lock(folder, "run folder"):
                return
        except InputError:
            time.sleep(0.2)
