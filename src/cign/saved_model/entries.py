"""Single entries of ``model.json``: types, ranges, and their names in error messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MOST_DEEP = 50


class WrongError(Exception):
    """An invalid entry: which one, and why."""


def share(values: dict[str, Any], name: str, where: str) -> None:
    """Check a number in [0, 1]."""
    if not 0 <= number(values, name, where) <= 1:
        raise WrongError(f"{where}{name} is {shown(values[name])}, not in [0, 1]")


def got(values: dict[str, Any], name: str, where: str = "") -> Any:
    """An entry that must be there."""
    if name not in values:
        raise WrongError(f"{where}{shown(name)} is missing")
    return values[name]


def has(values: dict[str, Any], name: str, kind: type, kind_text: str, where: str = "") -> Any:
    """An entry of a type; ``kind_text`` names the type."""
    return typed(got(values, name, where), f"{where}{name}", kind, kind_text)


def typed(value: Any, what: str, kind: type, kind_text: str) -> Any:
    """A value of a type; ``kind_text`` names the type."""
    if not isinstance(value, kind):
        raise WrongError(f"{what} is {shown(value)}, not {kind_text}")
    return value


def whole(
    values: dict[str, Any],
    name: str,
    low: int,
    high: int,
    *,
    where: str = "",
) -> None:
    """Check a whole number in a range."""
    value = got(values, name, where)
    if not is_whole(value) or not low <= value <= high:
        raise WrongError(
            f"{where}{name} is {shown(value)}, not a whole number from {low} to {high}"
        )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(values: dict[str, Any], name: str, where: str = "") -> float:
    """A finite number."""
    value = got(values, name, where)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) < 1e30:  # excludes infinity, NaN and 10**400
        raise WrongError(f"{where}{name} is {shown(value)}, not a number")
    return float(value)


def only(values: dict[str, Any], names: tuple[str, ...], where: str) -> None:
    """Refuse entries of other names."""
    for name in values:
        if name not in names:
            raise WrongError(f"{where} has an unknown entry {shown(name)}")


def shown(value: Any) -> str:
    """A value for an error message: short, without control sequences."""
    if isinstance(value, int) and abs(value) > 10**30:
        return "a number of more than 30 digits"
    text = ascii(value) if not isinstance(value, str) else repr(value[:80])
    return text if len(text) <= 80 else text[:77] + "..."


def texts(value: Any) -> Iterator[tuple[str, str]]:
    """All strings, including keys, with the name of their entry."""
    left: list[tuple[Any, str, int]] = [(value, "it", 0)]
    while left:
        one, place, depth = left.pop()
        if depth > MOST_DEEP:
            raise WrongError(f"it is nested more than {MOST_DEEP} deep")
        if isinstance(one, str):
            yield place, one
        elif isinstance(one, dict):
            for name, item in one.items():
                yield f"the name of an entry of {place}", name
                left.append((item, shown(name), depth + 1))
        elif isinstance(one, list):
            left += [(item, place, depth + 1) for item in one]
