"""Work on a Ray cluster: connecting to it, and handing out calls whose worker may die.

Ray comes with the extra ``cluster``. Every machine needs this package and sees media, stores and
run folders under the same paths.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from cign.errors import InputError, RunError, one_of

ENGINES = ("local", "ray")
# How often a call is made again whose machine or process died.
NUM_RETRIES = 3


def check_engine(name: str, num_workers: int | None) -> None:
    """Refuse an engine there is not, and settings without meaning for it.

    Raises:
        InputError: With those there are, or the remedy.
    """
    if name not in ENGINES:
        raise one_of(name, ENGINES, "engine")
    if name == "ray":
        load_ray()
        if num_workers == 0:
            raise InputError("--workers 0 works in this process, --engine ray does not: use 1")


def load_ray() -> ModuleType:
    """Import Ray.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise InputError(
            "--engine ray needs Ray: `pip install 'ray>=2.40'`, or use --engine local"
        ) from None
    return ray


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """Connect to a cluster: that of RAY_ADDRESS, one that runs here, else a new one made here.

    Raises:
        RunError: If the cluster of RAY_ADDRESS cannot be reached.
    """
    ray: Any = load_ray()
    if ray.is_initialized():  # the caller's connection
        yield ray
        return
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"the Ray cluster cannot be reached ({reason}): start it with `ray start --head`, or "
            "set RAY_ADDRESS"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def num_cpus(ray: Any) -> int:
    """Processors of the cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def call_all(
    ray: Any,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    limit: int,
    cpus: int = 1,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Any]]:
    """Call a function on the cluster, once for each tuple of arguments.

    Args:
        ray: The connection.
        function: Of a module that every machine has.
        calls: Arguments.
        limit: Calls under way at a time.
        cpus: Processors that a call takes.
        tick: Called about twice a second.

    Yields:
        Number and result of each call, in the order in which they end. Leaving early ends what is
        under way.

    Raises:
        RunError: If a call fails, or its process dies again and again.
    """
    remote = ray.remote(num_cpus=cpus, max_retries=NUM_RETRIES)(function)
    waiting, pending = deque(enumerate(calls)), dict[Any, int]()
    try:
        while waiting or pending:
            while waiting and len(pending) < limit:
                number, arguments = waiting.popleft()
                pending[remote.remote(*arguments)] = number
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=0.5)
            tick()
            for reference in ready:
                number = pending.pop(reference)
                yield number, _result(ray, reference)
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        text = str(cause) if isinstance(cause, RunError) else f"{type(cause).__name__}: {cause}"
        raise RunError(" ".join(text.split())) from None
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(
            f"the cluster gave up after {NUM_RETRIES + 1} attempts ({reason}): see its logs, then "
            "run the same command again"
        ) from None
