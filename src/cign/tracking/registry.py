"""Registry of callbacks: loggers of this package, entry points and ``package.module:Class``."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from cign.errors import InputError, reason_of
from cign.training.callbacks import EVERY_STEPS, Callback
from cign.utils.plugins import Registry
from cign.vocabulary import LOGGERS


def _check(what: str, part: Any) -> None:
    """Reject an object that is not a callback.

    Raises:
        InputError: Names the fault.
    """
    if not (isinstance(part, type) and issubclass(part, Callback)):
        raise InputError(
            "plugin-contract", f"{what} is not a callback: make it a subclass of cign.Callback"
        )


CALLBACKS: Registry[type[Callback]] = Registry("callback", "cign.callbacks", _check, __package__)


def make_callbacks(
    given: Sequence[Callback | str], *, every_steps: int | None = None
) -> list[Callback]:
    """Callbacks from objects and names.

    Args:
        given: Callbacks, or their names: a logger (``LOGGERS``), an entry point, or
            ``package.module:Class``, which is built without arguments.
        every_steps: Steps between logged losses, of loggers by name; None keeps their own number.

    Raises:
        InputError: If a name is unknown or given twice, a package is missing, or a class cannot be
            built without arguments.
    """
    names = [one for one in given if isinstance(one, str)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError("bad-value", f"callback {twice[0]!r} is given twice: name it once")
    return [one if isinstance(one, Callback) else _made(one, every_steps) for one in given]


def _made(name: str, every_steps: int | None) -> Callback:
    if not isinstance(name, str):
        raise InputError(
            "plugin-contract",
            f"{name!r} is not a callback: give an instance of cign.Callback or a name",
        )
    cls = CALLBACKS.find(name)
    try:
        made = cls()
    except InputError:
        raise
    except Exception as error:  # code of the user's own
        reason = reason_of(error)
        raise InputError(
            "plugin-import",
            f"callback {name!r} cannot be built without arguments ({reason}): give defaults to "
            "them, or pass an instance to Learner.learn",
        ) from None
    if name in LOGGERS and every_steps is not None:
        made.every_steps = every_steps
    return made


def need(package: str, logger: str) -> None:
    """Check that the package of a logger is installed.

    Raises:
        InputError: If it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise InputError(
            "missing-package",
            f"the logger {logger} needs the package {package}: `pip install {package}`, or the "
            "extra `track`, which installs those of all loggers",
        )


class Logger(Callback):
    """Base class of the loggers: losses of some steps, of all epochs, and metrics of all tasks."""

    every_steps = EVERY_STEPS
