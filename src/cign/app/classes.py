"""The classes of a model and when each was learned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from cign.saved_model.model import Model


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A class and how it was learned.

    Attributes:
        name: Name of the class.
        task: Number of the task, from 1.
        date: When it was added, ISO 8601; None if it was learned in the run.
        num_kept: Number of its validation clips in the model.
    """

    name: str
    task: int
    date: str | None
    num_kept: int


def learned_classes(model: Model) -> list[Learned]:
    """The classes in the order in which they were learned.

    A change that adds classes makes one task of them and records its number
    (`cign.updating.edits.add_clips`). Changes by earlier versions have no number: their text begins
    with "added", and the last tasks belong to these changes, in the same order.
    """
    added = [change for change in model.changes if change["text"].startswith("added ")]
    first = len(model.groups) - len(added) + 1
    dates = {
        int(change.get("task", first + number)): change["date"]
        for number, change in enumerate(added)
    }
    kept = Counter[str]() if model.kept is None else model.kept.counts()
    return [
        Learned(
            name=name,
            task=task + 1,
            date=dates.get(task + 1),
            num_kept=kept[name],
        )
        for task, group in enumerate(model.groups)
        for name in group
    ]


def shown_date(date: str) -> str:
    """Format an ISO 8601 date in UTC for display, to the minute."""
    return f"{date[:16].replace('T', ' ')} UTC" if date else ""
