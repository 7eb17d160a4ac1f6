"""Charts that compare runs: accuracy over classes, accuracy against a cost, differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from cign.metrics.costs import unbeaten
from cign.report.svg import Axes, circle, drawing, look_of, mark, path, text

WIDTH, HEIGHT = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 22, 46
_AREA = Axes(left=LEFT, right=WIDTH - RIGHT, top=TOP, bottom=HEIGHT - BOTTOM)
_ZERO = 46  # width reserved for runs of cost 0, which a logarithmic axis cannot show


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line.

    Attributes:
        points: ``(x, y)``; None as y leaves a gap.
        titles: Tooltips, one per point.
        look: See `cign.report.svg.look_of`.
    """

    points: tuple[tuple[float, float | None], ...]
    titles: tuple[str, ...]
    look: int | str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One run.

    Attributes:
        cost: Cost, at least 0.
        value: Accuracy in percent.
        title: Tooltip.
        look: See `cign.report.svg.look_of`.
        counts: Whether it may be on the Pareto front; False for references.
    """

    cost: float
    value: float
    title: str
    look: int | str
    counts: bool = True


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference with its interval, in points, and the name at its left."""

    name: str
    value: float
    low: float
    high: float


def line_chart(
    series: Sequence[Series], *, title: str, x_label: str, limit: float | None = None
) -> Markup:
    """Draw series on a percent axis from 0 to 100.

    Args:
        series: The lines; later ones are drawn on top.
        title: Title for screen readers.
        x_label: Label of the x axis.
        limit: The best possible percentage, marked by a horizontal line.

    Returns:
        An ``<svg>`` element.
    """
    xs = sorted({x for one in series for x, _ in one.points})
    axes = replace(_AREA, x_range=(xs[0], xs[-1]) if xs else (0.0, 1.0), inset=10)
    step = -(-len(xs) // 12)  # at most a dozen labels, always including the last
    shown = [x for i, x in enumerate(reversed(xs)) if i % step == 0]
    parts = [
        axes.rows(range(0, 101, 20)),
        text(LEFT, TOP - 7, "%", "start"),
        axes.marks_below((axes.x(x), f"{x:g}") for x in shown),
        axes.label(x_label, BOTTOM - 8),
    ]
    if limit is not None:
        parts += [
            path("limit", f"M{LEFT} {axes.y(limit)}H{axes.right}"),
            text(axes.right, TOP - 7, f"best possible {limit:g} %", "end", "limit-text"),
        ]
    parts += [_line(one, axes) for one in series]
    return drawing("", (0, 0, WIDTH, HEIGHT), title, parts)


def _line(series: Series, axes: Axes) -> str:
    colour, _, dash = look_of(series.look)
    steps, pen, marks = "", "M", ""
    for (x, y), title in zip(series.points, series.titles, strict=True):
        if y is None:
            pen = "M"
            continue
        steps += f"{pen}{axes.x(x)} {axes.y(y)}"
        pen = "L"
        marks += mark(axes.x(x), axes.y(y), series.look, title)
    line = path("line", steps, **{"stroke-dasharray": dash})
    return f'<g class="{colour}">{line}{marks}</g>'


def scatter(marks: Sequence[Mark], *, title: str, x_label: str) -> Markup:
    """Draw runs over a logarithmic cost axis, with the Pareto front as a stepped line.

    Args:
        marks: At least one.
        title: Title for screen readers.
        x_label: Label of the x axis, with its unit.

    Returns:
        An ``<svg>`` element.
    """
    positive = [one.cost for one in marks if one.cost > 0]
    has_zero = len(positive) < len(marks)
    low = math.floor(math.log10(min(positive))) if positive else 0
    high = max(math.ceil(math.log10(max(positive))) if positive else 1, low + 1)
    values = [one.value for one in marks]
    step = 20 if max(values) - min(values) > 40 else 10
    floor = max(0, step * math.floor((min(values) - 2) / step))
    ceiling = min(100, step * math.ceil((max(values) + 2) / step))
    axes = replace(_AREA, y_range=(floor, ceiling))
    left = LEFT + (_ZERO if has_zero else 8)
    powers = replace(_AREA, left=left, right=_AREA.right - 8, x_range=(low, high))

    def place(one: Mark) -> tuple[float, float]:
        x = powers.x(math.log10(one.cost)) if one.cost > 0 else LEFT + 12
        return x, axes.y(one.value)

    ticks = [
        (powers.x(power), _power(power)) for power in range(low, high + 1, -(-(high - low) // 5))
    ]
    parts = [
        axes.rows(range(ceiling, floor - 1, -step)),
        text(LEFT, TOP - 7, "%", "start"),
        axes.marks_below([(LEFT + 12, "0")] * has_zero + ticks),
        axes.label(x_label, BOTTOM - 8),
    ]
    ours = [one for one in marks if one.counts]
    on_front = unbeaten([one.cost for one in ours], [one.value for one in ours])
    best = sorted(place(one) for one, is_on in zip(ours, on_front, strict=True) if is_on)
    if len(best) > 1:
        steps = "".join(f"H{x}V{y}" for x, y in best[1:])
        parts.append(path("front", f"M{best[0][0]} {best[0][1]}{steps}"))
    parts += [mark(*place(one), one.look, one.title) for one in marks]
    return drawing("", (0, 0, WIDTH, HEIGHT), title, parts)


def _power(power: int) -> str:
    """A power of ten with a unit prefix."""
    if 0 <= power <= 3:
        return str(10**power)
    names = {4: "10 k", 5: "100 k", 6: "1 M", 7: "10 M", 8: "100 M", 9: "1 G", 10: "10 G"}
    return names.get(power, f"{10.0**power:g}")


def interval_chart(lines: Sequence[Difference], *, title: str, x_label: str) -> Markup:
    """Draw differences below each other, on an axis that always includes zero.

    Args:
        lines: From top to bottom.
        title: Title for screen readers.
        x_label: Label of the axis.

    Returns:
        An ``<svg>`` element.
    """
    low, high, step = _round_ticks(lines)
    top, row = 8, 24
    bottom = top + row * len(lines) + 4
    axes = Axes(left=190, right=616, top=top, bottom=bottom, x_range=(low, high))
    parts = []
    for i in range(round((high - low) / step) + 1):
        tick = low + i * step
        style = "zero" if abs(tick) < step / 2 else "grid"
        parts.append(path(style, f"M{axes.x(tick)} {top}V{bottom}"))
        parts.append(text(axes.x(tick), bottom + 16, _signed(tick)))
    for i, line in enumerate(lines):
        y = top + row * i + row / 2
        low_x, high_x = axes.x(line.low), axes.x(line.high)
        label = f"{line.name}: {line.value:+.1f} [{line.low:+.1f}, {line.high:+.1f}] points"
        ends = f"M{low_x} {y:g}H{high_x}M{low_x} {y - 4:g}v8M{high_x} {y - 4:g}v8"
        parts.append(
            f'<g class="s0"><title>{escape(label)}</title>'
            f"{text(axes.left - 12, y + 4, line.name, 'end', 'name')}{path('line', ends)}"
            f"{circle(axes.x(line.value), y, 4)}</g>"
        )
    parts.append(axes.label(x_label, 36))
    return drawing("intervals", (0, 0, 640, bottom + 42), title, parts)


def _round_ticks(lines: Sequence[Difference]) -> tuple[float, float, float]:
    """First tick, last tick and step: about six round numbers that cover all intervals."""
    low = min(0.0, *(line.low for line in lines))
    high = max(0.0, *(line.high for line in lines))
    rough = max(high - low, 0.1) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return math.floor(low / step) * step, max(math.ceil(high / step), 1) * step, step


def _signed(value: float) -> str:
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-9 else "0"
