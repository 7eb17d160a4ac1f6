"""Formatting of values in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cign.utils import wording

DASH = "\N{EN DASH}"


def number(value: float | None, sign: bool = False) -> str:
    """Format with one decimal and a true minus sign; a dash for an undefined number."""
    if value is None or math.isnan(value):
        return DASH
    text = f"{value:+.1f}" if sign else f"{value:.1f}"
    return ("0.0" if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def value_of(value: float | None, decimals: int) -> str:
    """Format with thin spaces between thousands and a true minus sign."""
    if value is None or math.isnan(value):
        return DASH
    text = f"{value:,.{decimals}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    is_zero = not any(digit in text for digit in "123456789")
    return text.lstrip("-") if is_zero else text.replace("-", "\N{MINUS SIGN}")


def count(value: float | None) -> str:
    """Format a whole number with thin spaces between thousands."""
    return DASH if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def size(num_bytes: float | None) -> str:
    """Format a number of bytes, in MB (1,000,000 bytes) from 0.1 MB on."""
    if num_bytes is None:
        return DASH
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{count(num_bytes)} B"


def duration(seconds: float | None) -> str:
    """Seconds as "42 s", "3 min 05 s" or "2 h 07 min"."""
    return DASH if seconds is None else wording.duration(seconds, exact=True)


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as ``outer.inner`` -> text."""
    if isinstance(value, Mapping):
        result: dict[str, str] = {}
        for key in value:
            result |= flatten(value[key], f"{prefix}.{key}" if prefix else str(key))
        return result
    if isinstance(value, list | tuple):
        return {prefix: ", ".join(map(str, value)) or DASH}
    if isinstance(value, float):
        return {prefix: f"{value:g}"}
    return {prefix: DASH if value is None else str(value)}
