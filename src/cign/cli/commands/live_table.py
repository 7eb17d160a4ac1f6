"""Lines about windows and segments of live sources, each printed when it is there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from cign.cli.commands.predict_table import printable
from cign.utils.file_text import escape_name

_GAP = "  "
_MOST_LABEL = 24


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
    label = max(map(cell_len, ("label", *map(printable, classes))))
    label = label if is_wide else min(label, _MOST_LABEL)
    names = [printable(escape_name(one.name)) for one in places]
    source = max(map(cell_len, ("source", *names))) if len(names) > 1 else 0
    most = None if is_wide or not sys.stdout.isatty() else shutil.get_terminal_size().columns
    fixed = 19 + 5 + 7 + 7 + label + 4 * len(_GAP) + (source + len(_GAP) if source else 0)
    with_parts = most is None or most >= fixed + 2 * (label + 5 + len(_GAP))
    heading = [("source", source)] if source else []
    heading += [("time", 19), ("label", label), ("prob.", 5), ("unknown", 7), ("latency", 7)]
    if with_parts:
        heading += [("audio", label + 5), ("visual", label + 5)]
    yield _joined(heading, most)
    yield _joined(
        [("─" * width if _is_utf8() else "-" * width, width) for _, width in heading], most
    )
    for one in predictions:
        if one.error is not None:
            yield f"{printable(escape_name(one.file))}: error: {escape_name(one.error)}"
            continue
        cells = [(printable(escape_name(one.file)), source)] if source else []
        cells += [
            (f"{_clock(one.start_s)} to {_clock(one.end_s)}", 19),
            (printable(one.label), label),
            (f"{one.probability:.2f}", 5),
            ("-" if one.unknown_threshold is None else "yes" if one.is_unknown else "no", 7),
            (f"{one.latency_s:.2f} s", 7),
        ]
        if with_parts:
            cells += [(_best(one, name), label + 5) for name in ("audio", "visual")]
        yield _joined(cells, most) + _remark(one)


def file_lines(predictions: Iterable[Any], classes: Sequence[str]) -> Iterator[str]:
    """Lines about files of watched folders; their names come last and are never shortened."""
    label = max(map(cell_len, ("label", *map(printable, classes))))
    head = [("label", label), ("prob.", 5), ("unknown", 7), ("seconds", 15), ("file", 4)]
    yield _joined(head, None)
    yield _joined([("─" * width if _is_utf8() else "-" * width, width) for _, width in head], None)
    for one in predictions:
        name = printable(escape_name(one.file))
        if one.error is not None:
            yield f"{name}: error: {escape_name(one.error)}"
            continue
        cells = [
            (printable(one.label), label),
            (f"{one.probability:.2f}", 5),
            ("-" if one.unknown_threshold is None else "yes" if one.is_unknown else "no", 7),
            (f"{one.start_s:.1f} to {one.end_s:.1f}", 15),
            (name, cell_len(name)),
        ]
        yield _joined(cells, None)


def segment_lines(
    segments: Iterable[Any], classes: Sequence[str], places: Sequence[Any]
) -> Iterator[str]:
    """Lines about segments: from when to when, label, mean probability, whether unknown."""
    label = max(map(cell_len, ("label", *map(printable, classes))))
    names = [printable(escape_name(one.name)) for one in places]
    source = max(map(cell_len, ("source", *names))) if len(names) > 1 else 0
    head = [("source", source)] if source else []
    head += [("time", 19), ("label", label), ("prob.", 5), ("unknown", 7)]
    yield _joined(head, None)
    yield _joined([("─" * width if _is_utf8() else "-" * width, width) for _, width in head], None)
    for one in segments:
        if getattr(one, "error", None) is not None:
            yield f"{printable(escape_name(one.file))}: error: {escape_name(one.error)}"
            continue
        cells = [(printable(escape_name(one.file)), source)] if source else []
        cells += [
            (f"{_clock(one.start_s)} to {_clock(one.end_s)}", 19),
            (printable(one.label), label),
            (f"{one.probability:.2f}", 5),
            ("yes" if one.is_unknown else "no", 7),
        ]
        yield _joined(cells, None)


def _joined(cells: Iterable[tuple[str, int]], most: int | None) -> str:
    line = _GAP.join(set_cell_size(text, width) for text, width in cells).rstrip()
    return line if most is None else set_cell_size(line, min(cell_len(line), most))


def _is_utf8() -> bool:
    return "utf" in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()


def _clock(time_s: float) -> str:
    """Minutes and seconds; hours if there are any."""
    minutes, rest_s = divmod(round(time_s, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest_s:04.1f}" if hours else f"{minutes}:{rest_s:04.1f}"


def _best(prediction: Any, modality: str) -> str:
    label, probability = prediction.best(modality)
    return "-" if label is None else f"{printable(label)} {probability:.2f}"


def _remark(prediction: Any) -> str:
    if not prediction.num_dropped:
        return ""
    windows = "window" if prediction.num_dropped == 1 else "windows"
    return f"{_GAP}({prediction.num_dropped} {windows} dropped before)"
