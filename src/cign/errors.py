"""Errors that a user can fix: one sentence each, with the remedy."""

from __future__ import annotations

from collections.abc import Iterable


class CignError(Exception):
    """Base class of errors that are shown as one sentence, without a traceback.

    Attributes:
        exit_code: Exit code of the command line.
    """

    exit_code = 1


class InputError(CignError):
    """Wrong usage or unusable input: names the value, the allowed values and the remedy."""

    exit_code = 2


class RunError(CignError):
    """A run failed although its input was fine, for example because a disk is full."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a description of what was saved.

    Attributes:
        kept: What was saved, as a clause, for example ``"1 of 2 tasks is saved"``.
        go_on: How to resume; None leaves it to the command.
    """

    def __init__(self, kept: str, go_on: str | None = None) -> None:
        super().__init__(kept)
        self.kept, self.go_on = kept, go_on


def one_of(value: object, allowed: Iterable[object], what: str) -> InputError:
    """Build the error for a value that is not allowed.

    Args:
        value: The given value.
        allowed: The allowed values.
        what: Kind of the value, for example ``"method"``.

    Returns:
        The error; the caller raises it.
    """
    return InputError(f"unknown {what} {value!r}: use one of {', '.join(map(str, allowed))}")
