"""Ray cluster: connection, and remote calls that survive the loss of a worker.

Ray is installed by the extra ``cluster``. Every machine needs this package and the same paths for
media, stores and run folders.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import ModuleType
from typing import Any

from cign.errors import CignError, InputError, RunError, one_of

ENGINES = ("local", "ray")
# Retries of a call whose machine or process died.
NUM_RETRIES = 3
# Reports progress: name of what progresses, and its values.
Report = Callable[..., None]


def check_engine(name: str, num_workers: int | None) -> None:
    """Check the name of the engine, and that --workers is valid for it.

    Raises:
        InputError: With the known engines, or the remedy.
    """
    if name not in ENGINES:
        raise one_of(name, ENGINES, "engine")
    if name == "ray":
        load_ray()
        if num_workers == 0:
            raise InputError(
                "conflicting-options",
                "--workers is 0, which --engine ray does not support: use 1 or more",
            )


def load_ray() -> ModuleType:
    """Import Ray.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise InputError(
            "missing-package",
            "--engine ray needs Ray: `pip install 'ray>=2.40'`, or use --engine local",
        ) from None
    return ray


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """Connect to the cluster at RAY_ADDRESS, to a local one, or to a newly started local one.

    Raises:
        RunError: If the cluster at RAY_ADDRESS cannot be reached.
    """
    ray: Any = load_ray()
    if ray.is_initialized():  # the caller's connection
        yield ray
        return
    # Ray prints warnings to standard output, which holds only results.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except ConnectionError as error:
            reason = " ".join(str(error).split())
            raise RunError(
                "process-failed",
                f"the Ray cluster cannot be reached ({reason}): start it with `ray start --head`, "
                "or set RAY_ADDRESS",
            ) from None
        try:
            yield ray
        finally:
            ray.shutdown()


def num_cpus(ray: Any) -> int:
    """Number of CPUs of the cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def most_cpus(ray: Any) -> int:
    """Number of CPUs of the machine that has the most, which limits those of a single call."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max(1, int(max((one.get("CPU", 1) for one in alive), default=1)))


def call_all(
    ray: Any,
    function: Callable[..., Any],
    calls: Iterable[tuple[Any, ...]],
    *,
    limit: int,
    cpus: int = 1,
    moved: Report | None = None,
    common: Any = None,
) -> Iterator[tuple[int, str, Any]]:
    """Call a function on the cluster, once for each tuple of arguments.

    Args:
        ray: The connection.
        function: A function that every machine can import.
        calls: Arguments of each call; at most ``limit`` are taken ahead of their results.
        limit: Maximum number of concurrent calls.
        cpus: CPUs per call.
        moved: Receives the progress about twice a second. The function then gets as its last
            argument a function to report with.
        common: First argument of all calls, sent to each machine once; None for calls without.

    Yields:
        Index of each call, name of the machine and result, in order of completion. Closing the
        iterator cancels pending calls.

    Raises:
        RunError: If a call fails, or its process dies repeatedly.
    """
    board = None if moved is None else ray.remote(num_cpus=0)(_Board).remote()
    remote = ray.remote(num_cpus=cpus, max_retries=NUM_RETRIES)(_call)
    remote = remote.options(name=function.__name__)
    first = () if common is None else (ray.put(common),)
    waiting, pending = enumerate(calls), dict[Any, int]()
    try:
        while True:
            for number, arguments in islice(waiting, limit - len(pending)):
                pending[remote.remote(function, arguments, board, *first)] = number
            if not pending:
                return
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=0.5)
            if moved is not None and board is not None:
                for event in ray.get(board.take.remote()):
                    moved(*event)
            for reference in ready:
                number = pending.pop(reference)
                yield number, *_result(ray, reference)
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)


class _Board:
    """Actor that holds the latest progress by name, from all machines, until it is taken."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[Any, ...]] = {}

    def put(self, name: str, *at: Any) -> None:
        self._at[name] = (name, *at)

    def take(self) -> list[tuple[Any, ...]]:
        events = list(self._at.values())
        self._at.clear()
        return events


def _call(
    function: Callable[..., Any], arguments: tuple[Any, ...], board: Any, *first: Any
) -> tuple[str, Any]:
    """Call a function on this machine; returns the name of the machine and the result."""
    if board is not None:
        arguments = (*arguments, lambda *event: board.put.remote(*event))
    return platform.node(), function(*first, *arguments)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, CignError):
            kind = InputError if isinstance(cause, InputError) else RunError
            raise kind(cause.code, " ".join(str(cause).split())) from None
        text = " ".join(f"{type(cause).__name__}: {cause}".split())
        raise RunError("process-failed", text) from None
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(
            "process-failed",
            f"the cluster gave up after {NUM_RETRIES + 1} attempts ({reason}): see its logs, then "
            "run the same command again",
        ) from None
