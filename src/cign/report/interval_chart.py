"""Differences with their intervals on an axis around zero, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, LEFT, RIGHT, TOP, ROW = 640, 190, 24, 8, 24


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One line of the chart.

    Attributes:
        name: Label at its left.
        value: The difference, in points.
        low: Lower end of its interval.
        high: Upper end of its interval.
    """

    name: str
    value: float
    low: float
    high: float


def interval_chart(lines: Sequence[Difference], *, title: str, x_label: str) -> Markup:
    """Draw differences below each other, on an axis that always includes zero.

    Args:
        lines: From top to bottom.
        title: Title for screen readers.
        x_label: Label of the axis.

    Returns:
        An ``<svg>`` element.
    """
    low, high, step = _axis(lines)
    bottom = TOP + ROW * len(lines) + 4
    height = bottom + 42

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    parts = []
    for i in range(round((high - low) / step) + 1):
        tick = low + i * step
        name = "zero" if abs(tick) < step / 2 else "grid"
        parts.append(
            f'<path class="{name}" d="M{x(tick)} {TOP}V{bottom}"/><text class="tick" '
            f'text-anchor="middle" x="{x(tick)}" y="{bottom + 16}">{_signed(tick)}</text>'
        )
    for i, line in enumerate(lines):
        y = TOP + ROW * i + ROW / 2
        label = f"{line.name}: {line.value:+.1f} [{line.low:+.1f}, {line.high:+.1f}] points"
        parts.append(
            f'<g class="s0"><title>{escape(label)}</title>'
            f'<text class="name" text-anchor="end" x="{LEFT - 12}" y="{y + 4:g}">'
            f"{escape(line.name)}</text>"
            f'<path class="line" d="M{x(line.low)} {y:g}H{x(line.high)}M{x(line.low)} {y - 4:g}v8'
            f'M{x(line.high)} {y - 4:g}v8"/>'
            f'<circle class="dot" cx="{x(line.value)}" cy="{y:g}" r="4"/></g>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="tick" text-anchor="middle" x="{middle:g}" y="{bottom + 36}">'
        f"{escape(x_label)}</text>"
    )
    return Markup(
        f'<svg class="chart intervals" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _axis(lines: Sequence[Difference]) -> tuple[float, float, float]:
    """First tick, last tick and step: about six round numbers that cover all intervals."""
    low = min(0.0, *(line.low for line in lines))
    high = max(0.0, *(line.high for line in lines))
    rough = max(high - low, 0.1) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return math.floor(low / step) * step, max(math.ceil(high / step), 1) * step, step


def _signed(value: float) -> str:
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-9 else "0"
