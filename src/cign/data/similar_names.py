"""Class names that look like misspellings of each other."""

from __future__ import annotations

import re
from collections.abc import Iterable


def alike(names: Iterable[str]) -> list[str]:
    """Return warnings for class names that differ only in case, blanks, hyphens or underscores."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(names):
        spellings.setdefault(_plain(name), []).append(name)
    return [
        f"warning: {' and '.join(map(repr, same))} are {len(same)} classes: give them one name if "
        "they are the same"
        for same in spellings.values()
        if len(same) > 1
    ]


def spelled_like(name: str, names: Iterable[str]) -> str | None:
    """The name that differs from a new one only in case, blanks, hyphens or underscores, if any."""
    return next((one for one in names if one != name and _plain(one) == _plain(name)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold())
