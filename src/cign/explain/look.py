"""Colours of the figures: those of the report on white, `report/assets/report.css`."""

from __future__ import annotations

INK, SOFT, RULE, PANEL = "#1b1f24", "#57606a", "#d5dae0", "#f6f7f9"
WARN, WARN_BACK = "#8a4600", "#fff3e0"
# One for each class of a figure, the first for the most probable class.
CLASSES = ("#0b62b8", "#c8500a", "#0f7f5a", "#a63d83", "#8a6d00", "#5b4fc4")


def colour_of(place: int) -> str:
    """The colour of the class at this rank of the audio-visual prediction; grey after the last."""
    return CLASSES[place] if place < len(CLASSES) else "#55606c"
