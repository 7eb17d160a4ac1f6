"""The table of `cign predict`: file, label, probability and unknown flag fit any width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, chop_cells, set_cell_size

from cign.utils.file_text import escape_name

GAP = "  "
_LEAST_TEXT = 12  # minimum width of a file name or a label, if the terminal has room
_CONFIDENT = 0.5  # unknown clips with a class above this probability get an explanation
_MODALITIES = {"audio": "no audio", "visual": "no video"}


@dataclass
class Column:
    """A column of text; `width` defaults to that of its widest cell."""

    heading: str
    cells: list[str]
    is_number: bool = False
    has_words: bool = True
    width: int = 0

    def __post_init__(self) -> None:
        self.width = max(map(cell_len, (self.heading, *self.cells)))

    def cut(self, row: int) -> list[str]:
        """A cell wrapped to the column's width, between words if it has any."""
        text = self.cells[row]
        if cell_len(text) <= self.width:
            return [text]
        # `textwrap` ignores the width of wide characters.
        if self.has_words and cell_len(text) == len(text):
            return textwrap.wrap(text, self.width, break_on_hyphens=False)
        return chop_cells(text, self.width)


@dataclass
class Table:
    """The visible part of predictions at a width.

    Attributes:
        columns: From left to right.
        beneath: A remark below each row; empty if there is none.
        hidden: Headings of the columns that do not fit.
        width: Width of the terminal in characters; None for lines of any length.
    """

    columns: list[Column]
    beneath: list[str]
    hidden: list[str]
    width: int | None

    def lines(self, rule: str = "─") -> Iterator[str]:
        """The table, line by line, without line breaks.

        Args:
            rule: Character of the rule below the headings.
        """
        yield _line([one.heading for one in self.columns], self.columns)
        yield _line([rule * one.width for one in self.columns], self.columns)
        for row, remark in enumerate(self.beneath):
            cells = [one.cut(row) for one in self.columns]
            for number in range(max(map(len, cells))):
                yield _line([c[number] if number < len(c) else "" for c in cells], self.columns)
            if remark and self.width is not None:
                yield from textwrap.wrap(
                    remark,
                    max(self.width, 2 * _LEAST_TEXT),
                    initial_indent="  ",
                    subsequent_indent="  ",
                )


def make_table(predictions: Sequence[Any], width: int | None, *, is_brief: bool = False) -> Table:
    """Lay out predictions.

    Args:
        predictions: The predictions to show.
        width: Width of the terminal in characters; None shows columns at full length.
        is_brief: Whether to show no more than file, label, probability, unknown flag and remarks,
            and the window where a file has several.

    Returns:
        The table. Long file names are shortened in the middle or, if two would then look the same,
        wrapped. Columns that do not fit are hidden; remarks are never hidden but move below their
        row.
    """
    names = [printable(escape_name(one.file)) for one in predictions]
    file = Column("file", names, has_words=False)
    label = Column("label", [printable(one.label or "-") for one in predictions])
    columns = [
        file,
        label,
        Column("probability", [_number(one.probability) for one in predictions], is_number=True),
        Column("unknown", [flag(one) for one in predictions]),
    ]
    remarks = [printable(_remarks(one)) for one in predictions]
    if width is not None:
        fit(file, [label], width - sum(len(GAP) + one.width for one in columns[2:]) - len(GAP))
    room = 10**9 if width is None else width - sum(one.width + len(GAP) for one in columns)
    beneath, hidden, last = remarks, [], []
    if any(remarks):
        column = Column("remarks", remarks)
        if column.width <= room:
            beneath, last = [""] * len(remarks), [column]
            room -= column.width + len(GAP)
    has_windows = len(set(names)) < len(names)
    for column in _others(predictions, is_whole=width is None):
        if column.width <= room and (not is_brief or (column.heading == "seconds" and has_windows)):
            columns.append(column)
            room -= column.width + len(GAP)
        else:
            hidden.append(column.heading)
    return Table([*columns, *last], beneath, hidden, width)


def _others(predictions: Sequence[Any], *, is_whole: bool) -> Iterator[Column]:
    """The other columns, the most useful first.

    Args:
        predictions: The predictions to show.
        is_whole: Whether all classes of a modality are shown, or only the first.
    """
    most = None if is_whole else 1
    yield Column("seconds", [seconds_of(one) for one in predictions])
    for name in ("audio", "visual"):
        yield Column(name, [_classes(one, name, most) for one in predictions])
    yield Column("unknown score", [_number(one.unknown) for one in predictions], is_number=True)
    yield Column("audio-visual", [_classes(one, "audio_visual", None) for one in predictions])


def fit(file: Column, labels: Sequence[Column], room: int) -> None:
    """Divide the room between file names and columns of labels, which get up to half of it."""
    if file.width + sum(one.width for one in labels) <= room:
        return
    most = max(_LEAST_TEXT, max(room // 2, room - file.width) // len(labels))
    for label in labels:
        label.width = min(label.width, most)
    file.width = max(_LEAST_TEXT, room - sum(one.width for one in labels))
    # The end of a name distinguishes files more often than the beginning.
    for begin in ((file.width - 1) // 3, 0, 2 * (file.width - 1) // 3):
        shown = [_without_middle(name, file.width, begin) for name in file.cells]
        if len(set(shown)) == len(set(file.cells)):
            file.cells = shown
            return


def _without_middle(text: str, width: int, begin: int) -> str:
    """Shorten a long text in the middle, keeping ``begin`` characters of its beginning."""
    if cell_len(text) <= width:
        return text
    end, length = "", 0
    for letter in reversed(text):
        length += cell_len(letter)
        if length > width - 1 - begin:
            break
        end = letter + end
    return set_cell_size(text, begin).rstrip() + "…" + end


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    padded = []
    for cell, column in zip(cells, columns, strict=True):
        blanks = " " * (column.width - cell_len(cell))
        padded.append(blanks + cell if column.is_number else cell + blanks)
    return GAP.join(padded).rstrip()


def printable(text: str) -> str:
    """A text with control characters replaced by escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def flag(prediction: Any) -> str:
    """Yes or no; a dash if no threshold applies."""
    if prediction.error is not None or prediction.unknown_threshold is None:
        return "-"
    return "yes" if prediction.is_unknown else "no"


def seconds_of(prediction: Any) -> str:
    """Start and end of the window; a dash if the file failed."""
    if prediction.start_s is None:
        return "-"
    return f"{prediction.start_s:.1f} to {prediction.end_s:.1f}"


def _classes(prediction: Any, modality: str, most: int | None) -> str:
    """The first ``most`` classes of a modality, or all, with their probabilities."""
    classes = prediction.modalities[modality][:most]
    listed = ", ".join(f"{one['label']} {one['probability']:.2f}" for one in classes)
    return printable(listed or "-")


def _remarks(prediction: Any) -> str:
    """Remarks on a row: the error, a missing modality, why it is unknown or uncertain."""
    if prediction.error is not None:
        return f"error: {escape_name(prediction.error)}"
    parts = [_MODALITIES[name] for name in prediction.missing]
    if prediction.is_unknown and prediction.probability >= _CONFIDENT:
        parts.append(
            f"unknown although {prediction.label} has {prediction.probability:.2f}: "
            f"{prediction.why_unknown}"
        )
    if prediction.below_threshold:
        parts.append(
            f"uncertain: below {prediction.threshold:.2f}, the threshold of {prediction.label}"
        )
    return "; ".join(parts)
