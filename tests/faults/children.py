"""Forked children that run a command, and how they ended.

Everything runs in forked children of a process that never computes itself: a fork after decoding
or after a product of matrices may hang.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 120.0  # for a command


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code (negative: the signal), and what it printed."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence of an error.

        Raises:
            AssertionError: If there is a traceback, or not exactly one sentence.
        """
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("cign: ")]
        assert lines, self
        assert "internal error" not in lines[-1], lines[-1]
        return lines[-1]

    @property
    def is_busy(self) -> bool:
        """Whether it was refused because another process uses the folder."""
        return self.code == 2 and "is in use by another process" in self.sentence


def run_child(arguments: Sequence[object], log: Path, arm: Callable[[], None] | None = None) -> int:
    """Fork a child that runs a command; gives its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        for name, number in (("out", 1), ("err", 2)):
            descriptor = os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        from cign.cli.entry_point import main
        from cign.learner import Learner

        # Checkpoints within a phase too, which a run of seconds would not come to.
        Learner.learn.__kwdefaults__["checkpoint_every_s"] = 0.1
        if arguments[0] == "bench" and os.environ.get("BENCH_IN_ONE_PROCESS"):
            run_in_one_process()
        if arm is not None:
            arm()
        code = main([str(argument) for argument in arguments])
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)
    return 0


def load_commands() -> None:
    """Import what commands need: once here, and not in every child."""
    import sklearn.cluster
    import sklearn.metrics  # noqa: F401

    import cign.learner
    import cign.report.page  # noqa: F401
    from cign.cli.commands import COMMANDS, module_name
    from cign.metrics.catalogue import metric_groups

    metric_groups()
    for name in COMMANDS:
        importlib.import_module(module_name(name))


def run_in_one_process() -> None:
    """Let a bench make its runs in its own process, where they die with it, and start faster."""
    import cign.bench.cluster as module

    original = module.run_all
    module.run_all = lambda jobs, _, *rest: original(jobs, 0, *rest)


def finished(child: int, log: Path, limit_s: float = LIMIT_S) -> Outcome:
    """Wait for a child.

    Raises:
        AssertionError: If it takes too long; it is killed.
    """
    end = time.monotonic() + limit_s
    pause_s = 0.001
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return outcome_of(status, log)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            found = outcome_of(os.waitpid(child, 0)[1], log)
            raise AssertionError(f"it hangs: {found.err[-400:]}")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.02)


def outcome_of(status: int, log: Path) -> Outcome:
    """Outcome of a child that has ended with a status of `os.waitpid`."""
    code = os.waitstatus_to_exitcode(status)
    out, err = (Path(f"{log}.{name}") for name in ("out", "err"))
    texts = [path.read_text() if path.exists() else "" for path in (out, err)]
    return Outcome(code, *texts)
