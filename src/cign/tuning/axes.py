"""An axis of a search: the values of one option."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cign.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Range:
    """All numbers of an interval.

    Attributes:
        low: Lowest value.
        high: Highest value.
        log: Whether they are drawn uniformly in the logarithm.
        whole: Whether only integers are meant.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


Axis = tuple[Any, ...] | Range


def parse_axis(text: str, types: Mapping[str, str] | None = None) -> tuple[str, Axis]:
    """Read ``NAME=V1,V2``, ``NAME=LOW..HIGH`` or ``NAME=LOW..HIGH:log``.

    Args:
        text: The axis as given.
        types: Types of options; the ends of a range of an integer option are rounded.

    Returns:
        The option's dotted name and its values.

    Raises:
        InputError: If the text has another form.
    """
    name, _, given = text.partition("=")
    wrong = InputError(
        "bad-value",
        f"invalid --vary {text!r}: use NAME=V1,V2, NAME=LOW..HIGH or NAME=LOW..HIGH:log",
    )
    low, dots, high = given.partition("..")
    if not name or not given:
        raise wrong
    if dots:
        high, _, scale = high.partition(":")
        try:
            ends = float(low), float(high)
        except ValueError:
            raise wrong from None
        is_log = scale == "log"
        finite = all(map(math.isfinite, ends))
        if scale not in ("", "log") or not finite or ends[0] >= ends[1]:
            raise wrong
        whole = (types or {}).get(name, "").startswith("integer")
        if whole:
            ends = round(ends[0]), round(ends[1])
        if is_log and ends[0] <= 0:
            least = "at 1 or more" if whole else "above 0"
            raise InputError("bad-value", f"--vary {text!r}: a range with :log must begin {least}")
        return name, Range(low=ends[0], high=ends[1], log=is_log, whole=whole)
    try:
        values = tuple(_number(yaml.safe_load(part)) for part in given.split(","))
    except yaml.YAMLError:
        raise wrong from None
    if len(set(map(repr, values))) < len(values):
        raise InputError("bad-value", f"--vary {text!r} names a value twice: name each once")
    return name, values


def _number(value: Any) -> Any:
    """A number that YAML reads as text, such as 1e-4."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
