"""The confusion matrix: class names up to 40 classes, task numbers above."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from cign.report.svg import drawing, path, task_name, text, upright

Ints = npt.NDArray[np.integer[Any]]

MAX_CLASSES = 100  # with more classes, the matrix is over tasks
MAX_NAMED = 40
_LEVELS = 8
_ON_DARK = 6  # cells of this level and above have light numbers
_MAX_UNITS = 22  # length of a name, in Latin letters
_UNNAMED_SIDE = 240


def confusion_diagram(
    table: Ints,
    task_sizes: Sequence[int],
    names: Sequence[str],
    title: str,
    *,
    with_counts: bool = False,
) -> Markup:
    """Draw the confusion matrix: true classes as rows, predicted classes as columns.

    All cells of one of eight intensities form one path, so that the page stays small.

    Args:
        table: Number of clips, [C, C].
        task_sizes: Number of classes of each task; lines separate the tasks.
        names: Class names; shown at rows and columns up to `MAX_NAMED` classes.
        title: Title for screen readers.
        with_counts: Whether to write the number of clips into each cell.

    Returns:
        An ``<svg>`` element.
    """
    size = len(table)
    is_named = size <= MAX_NAMED
    step = max(13.0, min(26.0, 520 / size)) if is_named else _UNNAMED_SIDE / size
    side = step * size
    levels = _levels(table)
    parts = [path("frame", f"M0 0H{side:g}V{side:g}H0Z"), *_cells(levels, step)]
    if is_named and with_counts:
        parts += _counts(table, levels, step)
    for end in np.cumsum(task_sizes)[:-1]:
        at = f"{end * step:.1f}"
        parts.append(path("part", f"M0 {at}H{side:g}M{at} 0V{side:g}"))
    labels, box = (
        _class_labels(names, task_sizes, step) if is_named else _task_labels(task_sizes, size, step)
    )
    label = f"{title}: classes in the order learned, {', '.join(names[:3])}"
    # Text keeps its size: a figure wider than the screen scrolls in its own frame.
    css = f"width:{box[2]:.0f}px;max-width:none" if is_named else ""
    style = "named" if is_named else "square"
    return drawing(style, [round(one) for one in box], label, [*parts, *labels], css)


def shortened(name: str, most: int = _MAX_UNITS) -> str:
    """Shorten a name in the middle to a width given in Latin letters.

    Characters of double width count twice. Both ends stay, because names often differ in their
    last word.
    """
    if _units(name) <= most:
        return name
    begin, end = len(name), len(name)  # the omitted part is between them
    while _units(name[:begin]) > most - most // 3 - 1:
        begin -= 1
    while _units(name[end - 1 :]) <= most // 3:
        end -= 1
    return f"{name[:begin].rstrip()}…{name[end:].lstrip()}"


def _units(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _levels(table: Ints) -> Ints:
    """Intensity of each cell, 0..8: its share of the clips of the row."""
    totals = np.maximum(table.sum(axis=1, keepdims=True), 1)
    return np.ceil(table / totals * _LEVELS).astype(int)


def _cells(levels: Ints, step: float) -> list[str]:
    right = np.eye(len(levels), dtype=bool)
    parts = []
    for name, mask in {"": right, " wrong": ~right}.items():
        for level in range(1, _LEVELS + 1):
            cells = np.argwhere((levels == level) & mask)
            if len(cells):
                steps = "".join(f"M{j} {i}h1v1h-1z" for i, j in cells)
                opacity = f"{0.15 + 0.85 * level / _LEVELS:.2f}"
                style = f"cell{name}"
                parts.append(path(style, steps, transform=f"scale({step:.4g})", opacity=opacity))
    return parts


def _counts(table: Ints, levels: Ints, step: float) -> list[str]:
    """The numbers of clips, in the cells where they fit."""
    font = 10 if step > 17 else 8
    parts = [f'<g class="counts" font-size="{font}">']
    for i, j in np.argwhere(table):
        count = str(table[i, j])
        if len(count) * font * 0.6 > step:
            continue
        light = ' class="light"' if levels[i, j] >= _ON_DARK else ""
        parts.append(
            f'<text{light} x="{(j + 0.5) * step:.1f}" y="{(i + 0.5) * step + 0.35 * font:.1f}">'
            f"{count}</text>"
        )
    return [*parts, "</g>"]


def _class_labels(
    names: Sequence[str], task_sizes: Sequence[int], step: float
) -> tuple[list[str], tuple[float, float, float, float]]:
    """Names beside rows and below columns, and the view box."""
    font = 12 if step > 17 else 10
    side = step * len(names)
    shown = [shortened(name) for name in names]
    room = max(map(_units, shown), default=0) * font * 0.62 + 12
    middles = [(i + 0.5) * step + 0.35 * font for i in range(len(names))]
    titles = [
        f"<title>{escape(full)}</title>" if full != short else ""
        for full, short in zip(names, shown, strict=True)
    ]
    words = "".join(
        f'<text x="-7" y="{y:.1f}">{escape(short)}{title}</text>'
        for y, short, title in zip(middles, shown, titles, strict=True)
    )
    parts = [  # the same text twice: rotated around the lower left corner it labels the columns
        f'<g class="names" font-size="{font}">{words}</g>',
        f'<g class="names" font-size="{font}" transform="translate(0 {side:g})rotate(-90)">'
        f"{words}</g>",
        text(side / 2, side + room + 14, "predicted class"),
        upright(-room - 6, side / 2, "true class"),
    ]
    top = 4.0
    if len(task_sizes) > 1:
        top = 20.0
        parts += _task_numbers(task_sizes, step, side)
    left, right = room + 20, 26.0 if len(task_sizes) > 1 else 6.0
    return parts, (-left, -top, left + side + right, top + side + room + 22)


def _task_numbers(task_sizes: Sequence[int], step: float, side: float) -> list[str]:
    """The number of each task above its columns and right of its rows."""
    parts, first = [], 0
    for task, count in enumerate(task_sizes, start=1):
        middle = (first + count / 2) * step
        first += count
        parts.append(text(middle, -6, task_name(task, count * step, 45)))
        parts.append(text(side + 6, middle + 4, task, "start"))
    return parts


def _task_labels(
    task_sizes: Sequence[int], size: int, step: float
) -> tuple[list[str], tuple[float, float, float, float]]:
    """Task numbers instead of names, and the view box."""
    parts, first, side = [], 0, _UNNAMED_SIDE
    for task, count in enumerate(task_sizes, start=1):
        middle = (first + count / 2) * step
        if side * count / size > 12:
            parts.append(text(middle, side + 14, task))
            parts.append(text(-5, middle + 4, task, "end"))
        first += count
    parts.append(text(side / 2, side + 30, "task of the predicted class"))
    parts.append(upright(-20, side / 2, "task of the true class"))
    return parts, (-34, -4, 282, 280)
