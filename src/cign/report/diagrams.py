"""Diagrams of one run as inline SVG: reliability, recall, forgetting of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from cign.metrics.calibration import Bin
from cign.metrics.classes import ClassRecall
from cign.report.text import number

Floats = npt.NDArray[np.floating[Any]]

_SIDE, _LEFT, _TOP = 220, 36, 10  # dimensions of square diagrams


def reliability_diagram(bins: Sequence[Bin], title: str) -> Markup:
    """Accuracy against confidence: one dot per bin, connected to the diagonal by its gap.

    Larger dots and higher bars at the bottom mean more clips.
    """
    total = sum(one.count for one in bins)
    most = max((one.count for one in bins), default=0)
    bottom = _TOP + _SIDE
    shares, gaps, dots = "", "", []
    for one in bins:
        if not one.count or one.confidence is None or one.accuracy is None:
            continue
        left, right = _LEFT + one.low * _SIDE + 0.6, _LEFT + one.high * _SIDE - 0.6
        height = 0.22 * _SIDE * one.count / most
        shares += f"M{left:.1f} {bottom}v{-height:.1f}H{right:.1f}V{bottom}Z"
        x, y = _LEFT + one.confidence * _SIDE, bottom - one.accuracy * _SIDE
        gaps += f"M{x:.1f} {bottom - one.confidence * _SIDE:.1f}V{y:.1f}"
        label = (
            f"confidence {100 * one.confidence:.0f} %, right {100 * one.accuracy:.0f} %, "
            f"{one.count} of {total}"
        )
        dots.append(
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{1.8 + 4 * (one.count / most) ** 0.5:.1f}"><title>{label}</title></circle>'
        )
    parts = [
        _frame(),
        f'<path class="diagonal" d="M{_LEFT} {bottom}L{_LEFT + _SIDE} {_TOP}"/>',
        f'<path class="share" d="{shares}"/><path class="gap" d="{gaps}"/>',
    ]
    axis_label = (
        f'<text class="tick" text-anchor="middle" x="{_LEFT + _SIDE / 2:g}" y="{bottom + 32}">'
        "confidence, %</text>"
    )
    return _svg(
        "square s0", _LEFT + _SIDE + 12, bottom + 38, title, [*parts, *dots, axis_label, _axis()]
    )


def recall_bars(
    recalls: Floats, names: Sequence[str], task_sizes: Sequence[int], title: str
) -> Markup:
    """One bar for each class in the order learned; those of the last task have another colour."""
    width, height, bottom = 640, 130, 112
    step = (width - _LEFT) / max(len(recalls), 1)
    parts = [
        f'<path class="grid" d="M{_LEFT} {bottom - p}H{width}"/>'
        f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{bottom - p + 4}">{p}</text>'
        for p in (0, 50, 100)
    ]
    last = len(task_sizes) - 1
    tasks = np.repeat(np.arange(len(task_sizes)), task_sizes)
    for c, value in enumerate(recalls):
        if np.isnan(value):
            continue
        x = _LEFT + c * step
        parts.append(
            f'<path class="bar {"s1" if tasks[c] == last and last else "s0"}" '
            f'd="M{x + 0.1 * step:.1f} {bottom}V{bottom - value:.1f}h{0.8 * step:.1f}V{bottom}Z">'
            f"<title>{escape(names[c])}: {number(value)} %</title></path>"
        )
    first = 0
    for task, count in enumerate(task_sizes):
        if task:
            x = _LEFT + first * step
            parts.append(f'<path class="part" d="M{x:.1f} {bottom - 104}V{bottom + 6}"/>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{_LEFT + (first + count / 2) * step:.1f}" '
            f'y="{bottom + 15}">{"task " if count * step > 60 else ""}{task + 1}</text>'
        )
        first += count
    return _svg("strip", width, height, title, parts)


def interval_bar(one: ClassRecall) -> Markup | None:
    """A recall on a scale from 0 to 100 with its interval; None for a class without test clips."""
    if one.recall is None:
        return None
    line = "" if one.low is None else f'<path class="line" d="M{one.low:.1f} 6H{one.high:.1f}"/>'
    return Markup(
        f'<svg class="mini s0" viewBox="-4 0 108 12" width="108" height="12" aria-hidden="true">'
        f'<path class="grid" d="M0 6H100M0 2v8M50 3v6M100 2v8"/>{line}'
        f'<circle class="dot" cx="{one.recall:.1f}" cy="6" r="3"/></svg>'
    )


def forgetting_bars(
    drops: Mapping[str, Floats], names: Mapping[str, str], title: str, unit: str
) -> Markup:
    """One bar per modality for each task but the last; negative if the task improved."""
    width, height, top, bottom = 400, 230, 10, 196
    values = np.concatenate(list(drops.values()))
    known = values[~np.isnan(values)]
    high = max(10.0, float(np.ceil(known.max(initial=0.0) / 10) * 10))
    low = float(np.floor(known.min(initial=0.0) / 10) * 10)
    scale = (bottom - top) / (high - low)
    num_tasks = len(next(iter(drops.values())))
    step = (width - _LEFT) / max(num_tasks, 1)
    marks = 10 if high - low <= 40 else 20 if high - low <= 80 else 50

    def y(value: float) -> float:
        return round(bottom - (value - low) * scale, 1)

    ticks = [t for t in range(-100, 101, marks) if low <= t <= high]
    parts = [
        f'<path class="{"zero" if t == 0 else "grid"}" d="M{_LEFT} {y(t)}H{width}"/>'
        f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" y="{y(t) + 4:g}">{number(t)[:-2]}'
        "</text>"
        for t in ticks
    ]
    wide = min(0.26 * step, 26.0)
    for j in range(num_tasks):
        middle = _LEFT + (j + 0.5) * step
        for place, (modality, values) in enumerate(drops.items()):
            if np.isnan(values[j]):
                continue
            x = middle + (place - len(drops) / 2) * wide
            parts.append(
                f'<path class="bar s{place}" d="M{x + 1:.1f} {y(0)}V{y(values[j])}'
                f'h{wide - 2:.1f}V{y(0)}Z"><title>task {j + 1}, {escape(names[modality])}: '
                f"{number(values[j])} {escape(unit)}</title></path>"
            )
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{middle:.1f}" y="{bottom + 18}">'
            f"{'task ' if step > 60 else ''}{j + 1}</text>"
        )
    return _svg("bars", width, height, title, parts)


def _frame() -> str:
    return "".join(
        f'<path class="grid" d="M{_LEFT} {_TOP + _SIDE * s:g}h{_SIDE}M{_LEFT + _SIDE * s:g} '
        f'{_TOP}v{_SIDE}"/>'
        for s in (0, 0.5, 1)
    )


def _axis() -> str:
    bottom = _TOP + _SIDE
    return "".join(
        f'<text class="tick" text-anchor="middle" x="{_LEFT + p / 100 * _SIDE:g}" '
        f'y="{bottom + 16}">{p}</text>'
        f'<text class="tick" text-anchor="end" x="{_LEFT - 6}" '
        f'y="{bottom - p / 100 * _SIDE + 4:g}">{p}</text>'
        for p in (0, 50, 100)
    )


def _svg(style: str, width: float, height: float, title: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="chart {style}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
