"""Wording of messages."""

from collections.abc import Iterable


def listed(names: Iterable[str], most: int = 10) -> str:
    """Join the first names of a list with commas, with the number of remaining ones."""
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def counted(number: float) -> float:
    """A number of clips, each counted by its weight: an int if it is whole, up to rounding."""
    whole = round(number)
    return whole if abs(number - whole) < 1e-6 else round(number, 6)
