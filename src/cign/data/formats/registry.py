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

Reader = Callable[..., Listing]
Recognise = Callable[[Path, Path], bool]
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
        content: For names that other files may have, too: whether a file identifies the format of
            a source, by its content; see `register_format`.
    """

    files: tuple[str | re.Pattern[str], ...]
    over: tuple[str, ...] = ()
    content: Recognise | None = None

    def is_named(self, path: Path) -> bool:
        """Whether a file has one of the names."""
        return any(
            path.name == file if isinstance(file, str) else bool(file.fullmatch(path.name))
            for file in self.files
        )


MARKS: dict[str, Marks] = {}
"""Marks by the name of the format."""

CHOOSING: set[str] = set()
"""Formats whose readers take a choice: the name of a tier, column or control with the classes."""

WITHOUT_SPLITS: set[str] = set()
"""Formats that never state splits, so that all recordings may be used to add classes."""


def split_name(name: str) -> tuple[str, str | None]:
    """Divide ``FORMAT/CHOICE``, as in ``elan/calls``.

    Raises:
        InputError: If the format takes no choice, or the choice is empty.
    """
    base, slash, choice = name.partition("/")
    if slash and base in FORMATS and (base not in CHOOSING or not choice):
        raise InputError(
            "bad-value",
            f"format {name!r} is invalid: only {', '.join(sorted(CHOOSING))} take a name after "
            "'/', for example elan/calls",
        )
    return (base, choice) if slash and base in FORMATS else (name, None)


def is_without_splits(name: str | None) -> bool:
    """Whether the lists of a format never state splits."""
    return name is not None and split_name(name)[0] in WITHOUT_SPLITS


def register_format(
    name: str,
    *,
    files: Sequence[str | re.Pattern[str]] = (),
    over: Sequence[str] = (),
    content: Recognise | None = None,
    choices: bool = False,
    states_splits: bool = True,
    contract: int = CONTRACT,
) -> Callable[[R], R]:
    """Decorator that registers a function as the reader of a format.

    Args:
        name: Name of the format for ``--format``.
        files: Names or patterns of the lists that identify the format without ``--format``.
        over: Formats that this one takes precedence over if a folder has the lists of both.
        content: Called with a file of these names and the source, which is the file or its folder;
            whether the file identifies the format.
        choices: Whether the reader takes ``choice``, the part of the name after ``/``.
        states_splits: Whether lists of the format may state splits.
        contract: Version of the interface that the reader was written for.

    Raises:
        InputError: If the name is taken, or the contract has another version.
    """

    def register(reader: R) -> R:
        FORMATS.register(name, reader, contract=contract)
        if files:
            MARKS[name] = Marks(files=tuple(files), over=tuple(over), content=content)
        if choices:
            CHOOSING.add(name)
        if not states_splits:
            WITHOUT_SPLITS.add(name)
        return reader

    return register
