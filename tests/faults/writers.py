"""Two commands on the same folder at the same time."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from faults.cases import Case
from faults.children import Outcome, finished, outcome_of, run_child
from faults.injected import stop_before


class Writers:
    """Pairs of commands on one folder.

    Args:
        log: Where children print.
        draw: Draws the moments.
    """

    def __init__(self, log: Path, draw: random.Random) -> None:
        self.log = log
        self.draw = draw
        self._serial: dict[tuple[str, str], dict[str, Any]] = {}

    def one_after_the_other(self, first: Case, second: Case) -> list[dict[str, Any]]:
        """Results of both commands in either order; a refusal of the later one is a result, too."""
        return [self._in_order(first, second), self._in_order(second, first)]

    def _in_order(self, first: Case, second: Case) -> dict[str, Any]:
        key = first.name, second.name
        if key not in self._serial:
            first.reset()
            for case in (first, second):
                check(finished(run_child(case.arguments, self.log), self.log))
            self._serial[key] = first.result(first.place)
        return self._serial[key]

    def together(
        self, first: Case, second: Case, took_s: float, operations: int
    ) -> tuple[int, dict[str, Any]]:
        """Give the second command while the first one runs, then repeat those that were refused.

        Half of the time the first command stops before a file operation until the second one has
        ended; otherwise both run on from some moment.

        Args:
            first: The command that is given first.
            second: The other one, in the same folder.
            took_s: Seconds that the first takes alone.
            operations: Number of its file operations.

        Returns:
            Number of refusals because of the other process, and the result.
        """
        first.reset()
        if self.draw.random() < 0.5:
            number = self.draw.randint(1, operations)
            outcomes = self._while_stopped(first, second, number)
        else:
            outcomes = self._side_by_side(first, second, self.draw.uniform(0, took_s))
        num_refused = 0
        for case, outcome in zip((first, second), outcomes, strict=True):
            check(outcome)
            if outcome.is_busy:
                num_refused += 1
                again = case.arguments if case.at_begin else case.again()
                done = finished(run_child(again, self.log), self.log)
                check(done)
                assert not done.is_busy, done.err
        if not first.at_begin:
            again = first.again()
            assert finished(run_child(again, self.log), self.log).code == 0
        return num_refused, first.result(first.place)

    def _while_stopped(self, first: Case, second: Case, number: int) -> tuple[Outcome, Outcome]:
        """Run the second command while the first one is stopped before a file operation."""
        child = run_child(first.arguments, self.log, stop_before(number, first.place))
        _, status = os.waitpid(child, os.WUNTRACED)
        later = self.log.with_name("log-second")
        other = finished(run_child(second.arguments, later), later)
        if not os.WIFSTOPPED(status):
            return outcome_of(status, self.log), other
        os.kill(child, signal.SIGCONT)
        return finished(child, self.log), other

    def _side_by_side(self, first: Case, second: Case, wait_s: float) -> tuple[Outcome, Outcome]:
        """Begin the second command some time after the first one."""
        child = run_child(first.arguments, self.log)
        time.sleep(wait_s)
        later = self.log.with_name("log-second")
        other = run_child(second.arguments, later)
        return finished(child, self.log), finished(other, later)


def check(outcome: Outcome) -> None:
    """A command was successful, or refused in a sentence.

    Raises:
        AssertionError: If it was not.
    """
    if outcome.code != 0:
        assert outcome.code == 2, (outcome.code, outcome.err)
        assert outcome.sentence
