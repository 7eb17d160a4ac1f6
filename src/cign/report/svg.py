"""Primitives of charts as inline SVG: axes, ticks, texts, marks.

No script, no external request; colours come from the style sheet. Series differ by colour (class
``s0`` .. ``s7``), marker and, from the ninth series on, line dashes. References (``finetune``,
``joint``) are grey and dashed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

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


def look_of(look: int | str) -> tuple[str, str, str]:
    """Style class, marker path and dashes of a look: a number from 0, or a reference's name."""
    if isinstance(look, str):
        is_joint = look == "joint"
        return "reference", _MARKERS[3 if is_joint else 0], "6 4" if is_joint else "2 4"
    dash = _DASHES[look // NUM_COLOURS % len(_DASHES)]
    return f"s{look % NUM_COLOURS}", _MARKERS[look % len(_MARKERS)], dash


def swatch(look: int | str) -> Markup:
    """Legend entry of a series: a piece of its line with its marker."""
    colour, marker, dash = look_of(look)
    return Markup(
        f'<svg class="swatch {colour}" width="34" height="12" viewBox="-17 -6 34 12" '
        f'aria-hidden="true"><path class="line" d="M-16 0H16" stroke-dasharray="{dash}"/>'
        f'<path class="dot" d="{marker}"/></svg>'
    )


def drawing(
    style: str, box: Sequence[float], title: str, parts: Iterable[str], css: str = ""
) -> Markup:
    """An ``<svg>`` element.

    Args:
        style: Style classes besides ``chart``.
        box: Left, top, width and height of the view box.
        title: Title for screen readers.
        parts: Elements, from back to front.
        css: Value of the ``style`` attribute.
    """
    css = css and f' style="{css}"'
    return Markup(
        f'<svg class="chart {style}"{css} viewBox="{" ".join(f"{one:g}" for one in box)}" '
        f'role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def path(style: str, steps: str, title: str = "", **attributes: str) -> str:
    """A path; with a title it has a tooltip."""
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    end = f"><title>{escape(title)}</title></path>" if title else "/>"
    return f'<path class="{style}" d="{steps}"{more}{end}'


def text(x: float, y: float, content: object, anchor: str = "middle", style: str = "tick") -> str:
    """A text whose ``anchor`` (start, middle or end) is at a position."""
    return (
        f'<text class="{style}" text-anchor="{anchor}" x="{round(x, 1):g}" y="{round(y, 1):g}">'
        f"{escape(content)}</text>"
    )


def upright(x: float, y: float, content: str) -> str:
    """A text that reads from bottom to top, centred at a position."""
    return (
        '<text class="tick" text-anchor="middle" '
        f'transform="translate({x:.1f} {y:.1f})rotate(-90)">{content}</text>'
    )


def mark(x: float, y: float, look: int | str, title: str) -> str:
    """The marker of a look with a tooltip, and an area for touches around it."""
    colour, marker, _ = look_of(look)
    return (
        f'<g class="{colour}" transform="translate({x} {y})"><title>{escape(title)}</title>'
        f'<circle class="touch" r="11"/><path class="dot" d="{marker}"/></g>'
    )


def circle(x: float, y: float, radius: float, title: str = "") -> str:
    """A dot."""
    tooltip = f"><title>{escape(title)}</title></circle>" if title else "/>"
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"{tooltip}'


def bar(style: str, x: float, width: float, base: float, end: float, title: str) -> str:
    """An upright bar with a tooltip."""
    steps = f"M{x:.1f} {base:g}V{end:.1f}h{width:.1f}V{base:g}Z"
    return path(f"bar {style}", steps, title)


def task_name(task: int, width: float, enough: float = 60) -> str:
    """Label of a task, from 1: its number alone where the width is not enough."""
    return f"task {task}" if width > enough else str(task)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A plot area with linear scales.

    Attributes:
        left: Left edge.
        right: Right edge.
        top: Upper edge.
        bottom: Lower edge.
        x_range: Values at the left and the right edge.
        y_range: Values at the lower and the upper edge.
        inset: Width of empty borders left and right of the horizontal scale.
    """

    left: float
    right: float
    top: float
    bottom: float
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 100.0)
    inset: float = 0.0

    def x(self, value: float) -> float:
        """Position of a value; the middle if the range is empty."""
        low, high = self.x_range
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.left + self.inset + share * (self.right - self.left - 2 * self.inset), 1)

    def y(self, value: float) -> float:
        """Position of a value."""
        low, high = self.y_range
        return round(self.bottom - (value - low) / (high - low) * (self.bottom - self.top), 1)

    def rows(
        self, ticks: Iterable[float], texts: Iterable[str] | None = None, zero: str = "grid"
    ) -> str:
        """Horizontal lines with texts (default: their values); ``zero`` is the style at 0."""
        ticks = list(ticks)
        texts = [f"{tick:g}" for tick in ticks] if texts is None else texts
        return "".join(
            path("grid" if tick else zero, f"M{self.left} {y}H{self.right}")
            + text(self.left - 6, y + 4, word, "end")
            for tick, word in zip(ticks, texts, strict=True)
            for y in (self.y(tick),)
        )

    def marks_below(self, places: Iterable[tuple[float, str]]) -> str:
        """Short ticks at horizontal positions below the area, with texts."""
        return "".join(
            path("grid", f"M{x} {self.bottom}v4") + text(x, self.bottom + 17, word)
            for x, word in places
        )

    def label(self, content: str, below: float) -> str:
        """Label of the horizontal axis at a distance below the area."""
        return text((self.left + self.right) / 2, self.bottom + below, content)
