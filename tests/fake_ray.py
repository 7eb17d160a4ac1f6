"""A cluster in this process, with the part of Ray's interface that `cign.utils.cluster` uses.

Arguments and results are pickled, as between machines. Calls run when they are waited for, the last
one first, so that results come in another order than the calls.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class TaskError(Exception):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class CrashedError(Exception):
    """The process of a call died."""


class Lost(BaseException):
    """Raised by `FakeRay.dies`: the process ends."""


class Reference:
    def __init__(self, make: Callable[[], bytes]) -> None:
        self.make, self.outcome = make, None


class FakeRay:
    """A connection.

    Args:
        cpus: CPUs of each machine.
        dies: Called with the number of an attempt, from 0; true if its process dies.
    """

    exceptions = SimpleNamespace(RayTaskError=TaskError, RayError=CrashedError)

    def __init__(
        self, cpus: tuple[int, ...] = (2,), dies: Callable[[int], bool] = lambda _: False
    ) -> None:
        self.cpus, self.dies = cpus, dies
        self.attempts = self.puts = self.most_pending = 0
        self.names: list[str] = []

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(sum(self.cpus))}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(number)}} for number in self.cpus]

    def put(self, value: object) -> Reference:
        self.puts += 1
        content = pickle.dumps(value)
        reference = Reference(lambda: content)
        reference.outcome = ("value", content)
        return reference

    def remote(self, num_cpus: int = 1, max_retries: int = 0) -> Callable[..., Any]:
        assert num_cpus <= max(self.cpus), "no machine could run this call"

        def of(function: Callable[..., Any]) -> Any:
            def submit(*arguments: Any) -> Reference:
                content = pickle.dumps(
                    [one.outcome[1] if isinstance(one, Reference) else one for one in arguments]
                )
                are_references = [isinstance(one, Reference) for one in arguments]

                def run() -> bytes:
                    given = [
                        pickle.loads(one) if is_reference else one
                        for one, is_reference in zip(
                            pickle.loads(content), are_references, strict=True
                        )
                    ]
                    return pickle.dumps(function(*given))

                return Reference(lambda: self._attempt(run, max_retries))

            def options(name: str) -> SimpleNamespace:
                self.names.append(name)
                return SimpleNamespace(remote=submit)

            return SimpleNamespace(remote=submit, options=options)

        return of

    def _attempt(self, run: Callable[[], bytes], retries: int) -> bytes:
        for _ in range(retries + 1):
            self.attempts += 1
            if not self.dies(self.attempts - 1):
                return run()
        raise Lost

    def wait(
        self, references: list[Reference], num_returns: int, timeout: float
    ) -> tuple[list[Reference], list[Reference]]:
        self.most_pending = max(self.most_pending, len(references))
        last = references[-1]
        try:
            last.outcome = ("value", last.make())
        except Lost:
            last.outcome = ("lost", None)
        except Exception as error:
            last.outcome = ("error", error)
        return [last], references[:-1]

    def get(self, reference: Reference) -> Any:
        kind, value = reference.outcome
        if kind == "lost":
            raise CrashedError("the worker died")
        if kind == "error":
            raise TaskError(value)
        return pickle.loads(value)

    def cancel(self, reference: Reference, force: bool = False) -> None:
        pass
