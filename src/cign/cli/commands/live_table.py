"""Lines about windows and segments of live sources, each printed when it is there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from cign.cli.commands.predict_table import GAP, flag, printable, seconds_of
from cign.utils.file_text import escape_name
from cign.utils.terminal import rule_character
from cign.utils.wording import clock

_MOST_LABEL = 24

# Heading and width; None for cells of any length, in the last column.
_Column = tuple[str, int | None]


def live_lines(
    predictions: Iterable[Any], classes: Sequence[str], places: Sequence[Any], is_wide: bool
) -> Iterator[str]:
    """Lines with fixed columns: time, label, probability, unknown flag, modalities, latency.

    Args:
        predictions: Of `cign.inference.live.predict_live`.
        classes: Class names of the model, for the width of the column.
        places: The sources; their names are shown if there are several.
        is_wide: Whether labels have their full length.
    """
    label = _width("label", classes)
    label = label if is_wide else min(label, _MOST_LABEL)
    sources = _sources(places)
    columns = [*sources, ("time", 19), ("label", label), ("prob.", 5), ("unknown", 7)]
    columns.append(("latency", 7))
    parts = [(name, label + 5) for name in ("audio", "visual")]
    most = None if is_wide or not sys.stdout.isatty() else shutil.get_terminal_size().columns
    if most is not None and most < sum(width + len(GAP) for _, width in columns + parts) - len(GAP):
        parts = []

    def cells(one: Any) -> list[str]:
        return [
            *(printable(escape_name(one.file)) for _ in sources),
            f"{clock(one.start_s)} to {clock(one.end_s)}",
            printable(one.label),
            f"{one.probability:.2f}",
            flag(one),
            f"{one.latency_s:.2f} s",
            *(_best(one, name) for name, _ in parts),
        ]

    yield from _lines(predictions, [*columns, *parts], cells, most=most, remark=_remark)


def file_lines(predictions: Iterable[Any], classes: Sequence[str]) -> Iterator[str]:
    """Lines about files of watched folders; their names come last and are never shortened."""

    def cells(one: Any) -> list[str]:
        return [
            printable(one.label),
            f"{one.probability:.2f}",
            flag(one),
            seconds_of(one),
            printable(escape_name(one.file)),
        ]

    label = ("label", _width("label", classes))
    columns = [label, ("prob.", 5), ("unknown", 7), ("seconds", 15), ("file", None)]
    yield from _lines(predictions, columns, cells)


def segment_lines(
    segments: Iterable[Any], classes: Sequence[str], places: Sequence[Any]
) -> Iterator[str]:
    """Lines about segments: from when to when, label, mean probability, whether unknown."""
    sources = _sources(places)

    def cells(one: Any) -> list[str]:
        return [
            *(printable(escape_name(one.file)) for _ in sources),
            f"{clock(one.start_s)} to {clock(one.end_s)}",
            printable(one.label),
            f"{one.probability:.2f}",
            "yes" if one.is_unknown else "no",
        ]

    label = ("label", _width("label", classes))
    columns = [*sources, ("time", 19), label, ("prob.", 5), ("unknown", 7)]
    yield from _lines(segments, columns, cells)


def _width(heading: str, cells: Iterable[str]) -> int:
    return max(map(cell_len, (heading, *map(printable, cells))))


def _sources(places: Sequence[Any]) -> list[tuple[str, int]]:
    """The column of the sources; none if there is only one."""
    if len(places) < 2:
        return []
    return [("source", _width("source", (escape_name(one.name) for one in places)))]


def _lines(
    found: Iterable[Any],
    columns: Sequence[_Column],
    cells: Callable[[Any], Sequence[str]],
    *,
    most: int | None = None,
    remark: Callable[[Any], str] = lambda one: "",
) -> Iterator[str]:
    """The heading, and a line for each prediction or segment.

    Args:
        found: The predictions or segments.
        columns: The columns.
        cells: The cells of one.
        most: Width in characters at which lines are cut off.
        remark: What follows the line of one.
    """
    widths = [width for _, width in columns]
    headings = [heading for heading, _ in columns]
    yield _joined(headings, widths, most)
    rules = [rule_character() * (width or cell_len(heading)) for heading, width in columns]
    yield _joined(rules, widths, most)
    for one in found:
        if getattr(one, "error", None) is not None:
            yield f"{printable(escape_name(one.file))}: error: {escape_name(one.error)}"
        else:
            yield _joined(cells(one), widths, most) + remark(one)


def _joined(cells: Sequence[str], widths: Sequence[int | None], most: int | None) -> str:
    padded = (
        text if width is None else set_cell_size(text, width)
        for text, width in zip(cells, widths, strict=True)
    )
    line = GAP.join(padded).rstrip()
    return line if most is None else set_cell_size(line, min(cell_len(line), most))


def _best(prediction: Any, modality: str) -> str:
    label, probability = prediction.best(modality)
    return "-" if label is None else f"{printable(label)} {probability:.2f}"


def _remark(prediction: Any) -> str:
    if not prediction.num_dropped:
        return ""
    windows = "window" if prediction.num_dropped == 1 else "windows"
    return f"{GAP}({prediction.num_dropped} {windows} dropped before)"
