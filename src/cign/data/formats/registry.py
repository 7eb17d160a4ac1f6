"""Registry of source formats: built-in, from installed packages, or ``package.module:Name``.

A format is a function that takes the source's absolute path and the media folders, and returns a
`Listing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
        raise InputError("plugin-contract", f"{what} is not a reader: register a function")


FORMATS: Registry[Reader] = Registry("format", "cign.formats", _check, __package__)


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What identifies a format without ``--format``.

    Attributes:
        files: Name of a list, or a pattern of names; one of them in a folder identifies the format.
        over: Formats whose lists may be in the same folder without deciding its format.
    """

    files: tuple[str | re.Pattern[str], ...]
    over: tuple[str, ...] = ()

    def match(self, name: str) -> bool:
        """Whether a file of this name identifies the format."""
        return any(
            name == file if isinstance(file, str) else bool(file.fullmatch(name))
            for file in self.files
        )


MARKS: dict[str, Marks] = {}
"""Marks by the name of the format."""


def register_format(
    name: str,
    *,
    files: Sequence[str | re.Pattern[str]] = (),
    over: Sequence[str] = (),
    contract: int = CONTRACT,
) -> Callable[[R], R]:
    """Decorator that registers a function as the reader of a format.

    Args:
        name: Name of the format for ``--format``.
        files: Names or patterns of the lists that identify the format without ``--format``.
        over: Formats that this one takes precedence over if a folder has the lists of both.
        contract: Version of the interface that the reader was written for.

    Raises:
        InputError: If the name is taken, or the contract has another version.
    """

    def register(reader: R) -> R:
        FORMATS.register(name, reader, contract=contract)
        if files:
            MARKS[name] = Marks(files=tuple(files), over=tuple(over))
        return reader

    return register
