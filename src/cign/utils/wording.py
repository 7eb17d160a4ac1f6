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


def clock(seconds: float, decimals: int = 1, *, with_hours: bool = False) -> str:
    """A time of a recording: ``1:02.5``, or ``1:01:02.5`` if it has hours or they are wanted."""
    minutes, rest = divmod(round(seconds, decimals), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:0{decimals + 3}.{decimals}f}"
    return f"{hours}:{minutes:02}:{text}" if hours or with_hours else f"{minutes}:{text}"
