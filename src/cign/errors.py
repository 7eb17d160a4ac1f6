"""Errors a user can do something about: one sentence each, with the remedy."""

from __future__ import annotations

from collections.abc import Iterable


class CignError(Exception):
    """Base of all errors that are shown as one sentence, without a traceback.

    Attributes:
        exit_code: What the command line exits with.
    """

    exit_code = 1


class InputError(CignError):
    """Wrong usage or unusable input: names the value, what is allowed and the remedy."""

    exit_code = 2


class RunError(CignError):
    """A run failed although its input was fine, for example because a disk is full."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what is kept of the work.

    Attributes:
        kept: What is kept, as the subject of a sentence and its verb.
        go_on: How to go on; None leaves it to the command.
    """

    def __init__(self, kept: str, go_on: str | None = None) -> None:
        super().__init__(kept)
        self.kept, self.go_on = kept, go_on


def one_of(value: object, allowed: Iterable[object], what: str) -> InputError:
    """Build the error for a value that is not among the allowed ones.

    Args:
        value: What the user gave.
        allowed: What would have been right.
        what: What the value stands for, for example ``"method"``.

    Returns:
        The error, to be raised by the caller.
    """
    return InputError(f"unknown {what} {value!r}: use one of {', '.join(map(str, allowed))}")
