"""All classes of a model and when each was learned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from cign.saved_model.model import Model


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A class and where it came from.

    Attributes:
        name: Of the class.
        task: From 1 on.
        date: When it was added, ISO 8601; None where it was learned in the run.
        num_kept: Its clips that are kept with the model.
    """

    name: str
    task: int
    date: str | None
    num_kept: int


def learned_classes(model: Model) -> list[Learned]:
    """The classes in the order in which they were taught.

    A change that teaches new classes makes one task of them and says which
    (`cign.updating.edits.add_clips`). One of earlier versions does not: its text begins with
    "added", and the last tasks are those of these changes, in their order.
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
    """A date of ISO 8601 in UTC as one reads it, to the minute."""
    return f"{date[:16].replace('T', ' ')} UTC" if date else ""
