"""Diagrams of one run: reliability, recall, forgetting of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from cign.metrics.calibration import Bin
from cign.metrics.classes import ClassRecall
from cign.report.svg import Axes, bar, circle, drawing, path, task_name, text
from cign.report.text import number

Floats = npt.NDArray[np.floating[Any]]

_SIDE, _LEFT, _TOP = 220, 36, 10  # dimensions of the reliability diagram


def reliability_diagram(bins: Sequence[Bin], title: str) -> Markup:
    """Accuracy against confidence: one dot per bin, connected to the diagonal by its gap.

    Larger dots and higher bars at the bottom mean more clips.
    """
    total = sum(one.count for one in bins)
    most = max((one.count for one in bins), default=0)
    bottom = _TOP + _SIDE
    axes = Axes(left=_LEFT, right=_LEFT + _SIDE, top=_TOP, bottom=bottom, y_range=(0, 1))
    shares, gaps, dots = "", "", []
    for one in bins:
        if not one.count or one.confidence is None or one.accuracy is None:
            continue
        left, right = _LEFT + one.low * _SIDE + 0.6, _LEFT + one.high * _SIDE - 0.6
        height = 0.22 * _SIDE * one.count / most
        shares += f"M{left:.1f} {bottom}v{-height:.1f}H{right:.1f}V{bottom}Z"
        x, y = axes.x(one.confidence), axes.y(one.accuracy)
        gaps += f"M{x} {axes.y(one.confidence)}V{y}"
        label = (
            f"confidence {100 * one.confidence:.0f} %, right {100 * one.accuracy:.0f} %, "
            f"{one.count} of {total}"
        )
        dots.append(circle(x, y, 1.8 + 4 * (one.count / most) ** 0.5, label))
    thirds = (0.0, 0.5, 1.0)
    parts = [
        axes.rows(thirds, ("0", "50", "100")),
        *(path("grid", f"M{axes.x(s)} {_TOP}v{_SIDE}") for s in thirds),
        path("diagonal", f"M{_LEFT} {bottom}L{_LEFT + _SIDE} {_TOP}"),
        path("share", shares),
        path("gap", gaps),
        *dots,
        axes.label("confidence, %", 32),
        *(text(axes.x(s), bottom + 16, f"{100 * s:g}") for s in thirds),
    ]
    return drawing("square s0", (0, 0, _LEFT + _SIDE + 12, bottom + 38), title, parts)


def recall_bars(
    recalls: Floats, names: Sequence[str], task_sizes: Sequence[int], title: str
) -> Markup:
    """One bar for each class in the order learned; those of the last task have another colour."""
    bottom = 112
    axes = Axes(left=_LEFT, right=640, top=bottom - 100, bottom=bottom)
    step = (axes.right - axes.left) / max(len(recalls), 1)
    parts = [axes.rows((0, 50, 100))]
    last = len(task_sizes) - 1
    tasks = np.repeat(np.arange(len(task_sizes)), task_sizes)
    for c, value in enumerate(recalls):
        if np.isnan(value):
            continue
        style = "s1" if tasks[c] == last and last else "s0"
        x = axes.left + (c + 0.1) * step
        parts.append(
            bar(style, x, 0.8 * step, bottom, axes.y(value), f"{names[c]}: {number(value)} %")
        )
    first = 0
    for task, count in enumerate(task_sizes):
        x = axes.left + first * step
        if task:
            parts.append(path("part", f"M{x:.1f} {bottom - 104}V{bottom + 6}"))
        width = count * step
        parts.append(text(x + width / 2, bottom + 15, task_name(task + 1, width)))
        first += count
    return drawing("strip", (0, 0, 640, 130), title, parts)


def interval_bar(one: ClassRecall) -> Markup | None:
    """A recall on a scale from 0 to 100 with its interval; None for a class without test clips."""
    if one.recall is None:
        return None
    line = "" if one.low is None else path("line", f"M{one.low:.1f} 6H{one.high:.1f}")
    return Markup(
        f'<svg class="mini s0" viewBox="-4 0 108 12" width="108" height="12" aria-hidden="true">'
        f"{path('grid', 'M0 6H100M0 2v8M50 3v6M100 2v8')}{line}{circle(one.recall, 6, 3)}</svg>"
    )


def forgetting_bars(
    drops: Mapping[str, Floats], names: Mapping[str, str], title: str, unit: str
) -> Markup:
    """One bar per modality for each task but the last; negative if the task improved."""
    values = np.concatenate(list(drops.values()))
    known = values[~np.isnan(values)]
    high = max(10.0, float(np.ceil(known.max(initial=0.0) / 10) * 10))
    low = float(np.floor(known.min(initial=0.0) / 10) * 10)
    axes = Axes(left=_LEFT, right=400, top=10, bottom=196, y_range=(low, high))
    num_tasks = len(next(iter(drops.values())))
    step = (axes.right - axes.left) / max(num_tasks, 1)
    marks = 10 if high - low <= 40 else 20 if high - low <= 80 else 50
    ticks = [t for t in range(-100, 101, marks) if low <= t <= high]
    parts = [axes.rows(ticks, [number(t)[:-2] for t in ticks], zero="zero")]
    wide = min(0.26 * step, 26.0)
    for j in range(num_tasks):
        middle = axes.left + (j + 0.5) * step
        for place, (modality, values) in enumerate(drops.items()):
            if np.isnan(values[j]):
                continue
            x = middle + (place - len(drops) / 2) * wide + 1
            label = f"task {j + 1}, {names[modality]}: {number(values[j])} {unit}"
            parts.append(bar(f"s{place}", x, wide - 2, axes.y(0), axes.y(values[j]), label))
        parts.append(text(middle, axes.bottom + 18, task_name(j + 1, step)))
    return drawing("bars", (0, 0, 400, 230), title, parts)
