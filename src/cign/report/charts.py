"""Line charts as inline SVG: no script, no external request, colours from the style sheet.

Series differ by colour (class ``s0`` .. ``s7`` of the style sheet), marker and, from the ninth
series on, line dashes. References (``finetune``, ``joint``) are grey and dashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 22, 46
NUM_COLOURS = 8

_DASHES = ("none", "6 3", "2 3", "8 3 2 3")
_MARKERS = (  # paths around the origin, about 8 units across
    "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0Z",  # circle
    "M-3.3-3.3h6.6v6.6h-6.6Z",  # square
    "M0-4.4L4.3 3.2H-4.3Z",  # triangle
    "M0-4.6L4.2 0 0 4.6-4.2 0Z",  # diamond
    "M0 4.4L4.3-3.2H-4.3Z",  # triangle, upside down
    "M-1.4-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8Z",  # plus
    "M-4.2-1.8L0-4.4 4.2-1.8 2.6 3.6H-2.6Z",  # pentagon
    "M-4.4 0L-2.2-3.8H2.2L4.4 0 2.2 3.8H-2.2Z",  # hexagon
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line.

    Attributes:
        name: Name in the tooltips.
        points: ``(x, y)``; None as y leaves a gap.
        titles: Tooltips, one per point.
        look: Selects colour, marker and dashes: a number from 0, or the name of a reference.
    """

    name: str
    points: tuple[tuple[float, float | None], ...]
    titles: tuple[str, ...]
    look: int | str


def swatch(look: int | str) -> Markup:
    """Legend entry of a series: a piece of its line with its marker."""
    colour, marker, dash = look_of(look)
    return Markup(
        f'<svg class="swatch {colour}" width="34" height="12" viewBox="-17 -6 34 12" '
        f'aria-hidden="true"><path class="line" d="M-16 0H16" stroke-dasharray="{dash}"/>'
        f'<path class="dot" d="{marker}"/></svg>'
    )


def look_of(look: int | str) -> tuple[str, str, str]:
    """Style class, marker path and dash pattern of a look; see `Series`."""
    if isinstance(look, str):
        is_joint = look == "joint"
        return "reference", _MARKERS[3 if is_joint else 0], "6 4" if is_joint else "2 4"
    dash = _DASHES[look // NUM_COLOURS % len(_DASHES)]
    return f"s{look % NUM_COLOURS}", _MARKERS[look % len(_MARKERS)], dash


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
    parts = [_grid(), _x_axis(xs, x_label)]
    if limit is not None:
        y = _y(limit)
        parts.append(
            f'<path class="limit" d="M{LEFT} {y}H{WIDTH - RIGHT}"/><text class="limit-text" '
            f'text-anchor="end" x="{WIDTH - RIGHT}" y="{TOP - 7}">best possible {limit:g} %</text>'
        )
    parts += [_line(one, xs) for one in series]
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _x(value: float, xs: Sequence[float]) -> float:
    low, high = (xs[0], xs[-1]) if xs else (0.0, 1.0)
    share = (value - low) / (high - low) if high > low else 0.5
    return round(LEFT + 10 + share * (WIDTH - LEFT - RIGHT - 20), 1)


def _y(percent: float) -> float:
    return round(HEIGHT - BOTTOM - percent / 100 * (HEIGHT - TOP - BOTTOM), 1)


def _grid() -> str:
    lines = [
        f'<path class="grid" d="M{LEFT} {_y(p)}H{WIDTH - RIGHT}"/>'
        f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{_y(p) + 4:g}">{p}</text>'
        for p in range(0, 101, 20)
    ]
    return "".join(lines) + f'<text class="tick" x="{LEFT}" y="{TOP - 7}">%</text>'


def _x_axis(xs: Sequence[float], label: str) -> str:
    step = -(-len(xs) // 12)  # at most a dozen labels, always including the last
    shown = [x for i, x in enumerate(reversed(xs)) if i % step == 0] if xs else []
    ticks = [
        f'<path class="grid" d="M{_x(x, xs)} {_y(0)}v4"/>'
        f'<text class="tick" text-anchor="middle" x="{_x(x, xs)}" y="{_y(0) + 17:g}">{x:g}</text>'
        for x in shown
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    ticks.append(
        f'<text class="tick" text-anchor="middle" x="{middle:g}" y="{HEIGHT - 8}">'
        f"{escape(label)}</text>"
    )
    return "".join(ticks)


def _line(series: Series, xs: Sequence[float]) -> str:
    colour, marker, dash = look_of(series.look)
    path, pen = [], "M"
    dots = []
    for (x, y), title in zip(series.points, series.titles, strict=True):
        if y is None:
            pen = "M"
            continue
        place = f"{_x(x, xs)} {_y(y)}"
        path.append(f"{pen}{place}")
        pen = "L"
        dots.append(
            f'<g transform="translate({place})"><title>{escape(title)}</title>'
            f'<circle class="touch" r="11"/><path class="dot" d="{marker}"/></g>'
        )
    return (
        f'<g class="{colour}"><path class="line" d="{"".join(path)}" stroke-dasharray="{dash}"/>'
        f"{''.join(dots)}</g>"
    )
