"""Accuracy against a cost, one mark a run: inline SVG, as `cign.report.charts`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cign.metrics.costs import unbeaten
from cign.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, look_of

_ZERO = 46  # room for runs whose cost is 0, which a logarithmic axis does not have


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One run.

    Attributes:
        cost: From 0.
        value: In percent.
        title: What it says when the pointer rests on it.
        look: As that of `cign.report.charts.Series`.
        counts: Whether it may be on the line of runs that no other beats; references may not.
    """

    cost: float
    value: float
    title: str
    look: int | str
    counts: bool = True


def scatter(marks: Sequence[Mark], *, title: str, x_label: str) -> Markup:
    """Draw runs over a logarithmic cost; a line steps along those that no other beats.

    Args:
        marks: At least one.
        title: Read out by screen readers.
        x_label: Written under the x axis, with its unit.

    Returns:
        An ``<svg>`` element.
    """
    positive = [mark.cost for mark in marks if mark.cost > 0]
    has_zero = len(positive) < len(marks)
    low = math.floor(math.log10(min(positive))) if positive else 0
    high = max(math.ceil(math.log10(max(positive))) if positive else 1, low + 1)
    left = LEFT + (_ZERO if has_zero else 8)
    span = WIDTH - RIGHT - 8 - left

    def x(cost: float) -> float:
        if cost <= 0:
            return LEFT + 12
        return round(left + (math.log10(cost) - low) / (high - low) * span, 1)

    values = [mark.value for mark in marks]
    step = 20 if max(values) - min(values) > 40 else 10
    floor = max(0, step * math.floor((min(values) - 2) / step))
    ceiling = min(100, step * math.ceil((max(values) + 2) / step))

    def y(value: float) -> float:
        share = (value - floor) / (ceiling - floor)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    parts = [
        f'<path class="grid" d="M{LEFT} {y(p)}H{WIDTH - RIGHT}"/>'
        f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y(p) + 4:g}">{p}</text>'
        for p in range(ceiling, floor - 1, -step)
    ]
    every = -(-(high - low) // 5)
    ticks = [(x(10.0**power), _power(power)) for power in range(low, high + 1, every)]
    for place, text in [(x(0), "0")] * has_zero + ticks:
        parts.append(
            f'<path class="grid" d="M{place} {y(floor)}v4"/><text class="tick" '
            f'text-anchor="middle" x="{place}" y="{y(floor) + 17:g}">{text}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="tick" x="{LEFT}" y="{TOP - 7}">%</text><text class="tick" '
        f'text-anchor="middle" x="{middle:g}" y="{HEIGHT - 8}">{escape(x_label)}</text>'
    )
    ours = [mark for mark in marks if mark.counts]
    kept = unbeaten([mark.cost for mark in ours], [mark.value for mark in ours])
    best = sorted((x(m.cost), y(m.value)) for m, keep in zip(ours, kept, strict=True) if keep)
    if len(best) > 1:
        steps = "".join(f"H{px}V{py}" for px, py in best[1:])
        parts.append(f'<path class="front" d="M{best[0][0]} {best[0][1]}{steps}"/>')
    for mark in marks:
        colour, marker, _ = look_of(mark.look)
        parts.append(
            f'<g class="{colour}" transform="translate({x(mark.cost)} {y(mark.value)})">'
            f'<title>{escape(mark.title)}</title><circle class="touch" r="11"/>'
            f'<path class="dot" d="{marker}"/></g>'
        )
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _power(power: int) -> str:
    """A power of ten as people write it."""
    if 0 <= power <= 3:
        return str(10**power)
    names = {4: "10 k", 5: "100 k", 6: "1 M", 7: "10 M", 8: "100 M", 9: "1 G", 10: "10 G"}
    return names.get(power, f"{10.0**power:g}")
