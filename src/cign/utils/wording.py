"""Wording of messages."""

from collections.abc import Iterable
from typing import Any


def listed(names: Iterable[str], most: int = 10) -> str:
    """Join the first names of a list with commas, with the number of remaining ones."""
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def counted(number: float) -> float:
    """A number of clips, each counted by its weight: an int if it is whole, up to rounding."""
    whole = round(number)
    return whole if abs(number - whole) < 1e-6 else round(number, 6)


def clock(seconds: float, decimals: int = 1, *, with_hours: bool = False) -> str:
    """A time of a recording: ``1:02.5``, or ``1:01:02.5`` if it has hours or they are wanted."""
    minutes, rest = divmod(round(seconds, decimals), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:0{decimals + 3}.{decimals}f}"
    return f"{hours}:{minutes:02}:{text}" if hours or with_hours else f"{minutes}:{text}"


def duration(seconds: float, *, exact: bool = False) -> str:
    """A duration: ``54 s``, ``12 min``, ``3 h 05 min``; exact: also ``4.2 s``, ``12 min 03 s``."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if exact and seconds < 9.95 else f"{seconds:.0f} s"
    if round(seconds) < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02} s" if exact else f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"


def value_text(value: Any) -> str:
    """A value of an option as in YAML, with six digits."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
