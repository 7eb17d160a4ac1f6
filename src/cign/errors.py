"""Errors that a user can fix: one sentence each, with a stable code and the remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Literal

# docs/errors.md describes each code. A code keeps its meaning; sentences may change.
Code = Literal[
    # Values and options
    "bad-usage",
    "bad-value",
    "conflicting-options",
    "missing-option",
    "name-taken",
    "not-trained",
    "unknown-name",
    "unsupported",
    # Files and folders
    "bad-output",
    "busy",
    "damaged",
    "disk-full",
    "file-missing",
    "file-unreadable",
    "wrong-format",
    "wrong-version",
    # Clips and their lists
    "bad-clip",
    "bad-list",
    "no-clips",
    # Things that do not belong together
    "model-changed",
    "resume-mismatch",
    "store-mismatch",
    "weights-mismatch",
    # Packages, plug-ins, machines
    "hub-failed",
    "missing-device",
    "missing-package",
    "missing-weights",
    "plugin-contract",
    "plugin-import",
    "process-failed",
    "stopped",
    "stream-failed",
    # Numbers
    "diverged",
    "export-differs",
    "singular",
]


class CignError(Exception):
    """Base class of errors that are shown as one sentence, without a traceback.

    Attributes:
        code: What is wrong, as one of the codes of docs/errors.md.
        exit_code: Exit code of the command line.
    """

    exit_code = 1

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code

    def __reduce__(self) -> tuple[type[CignError], tuple[Code, str]]:
        """Errors cross processes: copies need both arguments."""
        return type(self), (self.code, str(self))


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


def reason_of(error: BaseException) -> str:
    """Type and message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


OUT_OF_MEMORY = "out of memory: use smaller batches or fewer workers"

# Libraries report a failed allocation by errors of many types; these are parts of their messages.
_OF_MEMORY = (
    *("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory"),
    *("bad_alloc", "malloc of size", "realloc of size"),  # the standard library of C++, Arrow
    "failed to map segment from shared object",  # the dynamic linker
    "can't start new thread",  # there is no memory for its stack
    *("could not create a primitive", "could not execute a primitive"),  # oneDNN
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised for, is a failed allocation."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(error, OSError | RuntimeError | ImportError):
            text = str(error).lower()
            if any(part in text for part in _OF_MEMORY):
                return True
        error = error.__cause__ or error.__context__
    return False


def one_of(value: object, allowed: Iterable[object], what: str) -> InputError:
    """Build the error for a value that is not allowed.

    Args:
        value: The given value.
        allowed: The allowed values.
        what: Kind of the value, for example ``"method"``.

    Returns:
        The error, with code ``unknown-name``; the caller raises it.
    """
    allowed_names = ", ".join(map(str, allowed))
    return InputError("unknown-name", f"unknown {what} {value!r}: use one of {allowed_names}")
