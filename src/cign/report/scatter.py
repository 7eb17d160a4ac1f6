"""Accuracy against a cost, one mark per run, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cign.metrics.costs import unbeaten
from cign.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, look_of

_ZERO = 46  # width reserved for runs of cost 0, which a logarithmic axis cannot show


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One run.

    Attributes:
        cost: Cost, at least 0.
        value: Accuracy in percent.
        title: Tooltip.
        look: As in `cign.report.charts.Series`.
        counts: Whether it may be on the Pareto front; False for references.
    """

    cost: float
    value: float
    title: str
    look: int | str
    counts: bool = True


def scatter(marks: Sequence[Mark], *, title: str, x_label: str) -> Markup:
    """Draw runs over a logarithmic cost axis, with the Pareto front as a stepped line.

    Args:
        marks: At least one.
        title: Title for screen readers.
        x_label: Label of the x axis, with its unit.

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
    on_front = unbeaten([mark.cost for mark in ours], [mark.value for mark in ours])
    best = sorted((x(m.cost), y(m.value)) for m, is_on in zip(ours, on_front, strict=True) if is_on)
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
    """A power of ten with a unit prefix."""
    if 0 <= power <= 3:
        return str(10**power)
    names = {4: "10 k", 5: "100 k", 6: "1 M", 7: "10 M", 8: "100 M", 9: "1 G", 10: "10 G"}
    return names.get(power, f"{10.0**power:g}")
