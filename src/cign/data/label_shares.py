"""Shares of labels: whether a clip has several classes at once, or one class that is uncertain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from cign.errors import InputError


class Clip(Protocol):
    """What this module needs of `cign.data.clips.Clip`."""

    @property
    def id(self) -> str:
        """The clip's id."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Their shares; empty if all are certain."""


def is_multi_label(clips: Iterable[Clip]) -> bool:
    """Whether clips may have several classes at once: whether one has two labels in full.

    Otherwise each clip has one class, and several labels with shares say how likely each is.
    """
    return any(
        sum(share == 1.0 for share in clip.shares or (1.0,) * len(clip.labels)) > 1
        for clip in clips
    )


def sum_of_shares(clip: Clip) -> float:
    """Sum of the shares of a clip's labels; at most 1 if it has one class, up to rounding."""
    total = sum(clip.shares) if clip.shares else float(len(clip.labels))
    return round(total, 9)


def check_shares(clips: Sequence[Clip], what: str) -> None:
    """Check that the shares of a clip's labels sum to at most 1, if each clip has one class.

    Raises:
        InputError: With the first clip whose shares do not.
    """
    above = [clip for clip in clips if clip.shares and sum_of_shares(clip) > 1.0]
    if above and not is_multi_label(clips):
        raise InputError(
            "bad-list",
            f"{what}: the shares of the labels of clip {above[0].id} sum to "
            f"{sum(above[0].shares):g}, but no clip has two labels in full, so that each has one "
            "class: lower the shares to a sum of at most 1, or leave them out where a clip has "
            "several classes at once",
        )
