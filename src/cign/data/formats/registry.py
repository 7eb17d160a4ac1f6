"""Registry of source formats: built-in, from installed packages, or ``package.module:Name``.

A format is a function that takes the source's absolute path and the media folders, and returns a
`Listing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cign.data.formats.listing import Listing
from cign.errors import InputError
from cign.utils.plugins import CONTRACT, Registry

Reader = Callable[[Path, Sequence[Path]], Listing]
R = TypeVar("R", bound=Reader)


def _check(what: str, part: Any) -> None:
    """Check that a reader is callable.

    Raises:
        InputError: If it is not callable.
    """
    if not callable(part):
        raise InputError(f"{what} is not a reader: register a function")


FORMATS: Registry[Reader] = Registry("format", "cign.formats", _check, __package__)


def register_format(name: str, *, contract: int = CONTRACT) -> Callable[[R], R]:
    """Decorator that registers a function as the reader of a format.

    Args:
        name: Name of the format for ``--format``.
        contract: Version of the interface that the reader was written for.

    Raises:
        InputError: If the name is taken, or the contract has another version.
    """

    def register(reader: R) -> R:
        FORMATS.register(name, reader, contract=contract)
        return reader

    return register
