"""Classes, history and validation clips of merged models, without their sums."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips, joined
from cign.training.arrival import ArrivalEstimate


@dataclass
class Joined:
    """What a merged model has besides its sums; it grows model by model.

    Attributes:
        groups: Class names of each task: those of the first model, then the new ones of each other.
        kept: Validation clips of all models; clips that several store are here once.
        changes: Histories of all models, see `Model.changes`.
        estimates: Leave-one-out accuracies at arrival, each over the classes of its own model.
    """

    groups: tuple[tuple[str, ...], ...]
    kept: KeptClips | None
    changes: tuple[dict[str, str], ...]
    estimates: tuple[ArrivalEstimate, ...]

    @classmethod
    def of(cls, model: Model) -> Joined:
        """Those of one model."""
        return cls(model.groups, model.kept, model.changes, model.estimates)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in their order."""
        return tuple(name for group in self.groups for name in group)

    def add(self, model: Model, letter: str) -> tuple[list[tuple[str, ...]], int]:
        """Add those of another model.

        Args:
            model: The model.
            letter: What it is called.

        Returns:
            Its new classes by task, and the number of its validation clips that were stored before.
        """
        names, known = names_in(self.groups, model), set(self.classes)
        added: list[tuple[str, ...]] = []
        first, task_of = len(self.groups), [max(1, len(self.groups))]
        for group in model.groups:
            new = tuple(names[name] for name in group if names[name] not in known)
            if new:
                added.append(new)
            # A task without new classes counts as the one before.
            task_of.append(max(1, first + len(added)))
        self.groups += tuple(added)

        def task(number: int) -> int:
            return task_of[min(number, len(task_of) - 1)]

        self.estimates += tuple(replace(one, task=task(one.task)) for one in model.estimates)
        for change in model.changes:
            moved = {**change, "text": f"before the merge, model {letter}: {change['text']}"}
            if "task" in change:
                moved["task"] = str(task(int(change["task"])))
            self.changes += (moved,)
        return added, self._add_clips(model.kept, names)

    def _add_clips(self, more: KeptClips | None, names: Mapping[str, str]) -> int:
        """Join validation clips; returns the number of those that were stored before."""
        if more is None:
            return 0
        more, kept = renamed(more, names), self.kept
        if kept is None:
            self.kept = more
            return 0
        rows_of: dict[str, list[int]] = defaultdict(list)
        for row, names_of_clip in enumerate(kept.labels):
            for name in names_of_clip:
                rows_of[name].append(row)
        # Clips are compared within a class, because comparing all pairs would take minutes.
        of_class = {name: _rows(kept, rows) for name, rows in rows_of.items()}
        audio, visual = more.audio.numpy(), more.visual.numpy()
        rows = [
            row
            for row, names_of_clip in enumerate(more.labels)
            if not any(
                name in of_class and of_class[name].holds(audio[row], visual[row])
                for name in names_of_clip
            )
        ]
        if rows:
            self.kept = joined(kept, _rows(more, rows))
        return more.num_clips - len(rows)


def _rows(kept: KeptClips, rows: list[int]) -> KeptClips:
    """Some of the clips, at least one."""
    labels = tuple(kept.labels[row] for row in rows)
    return KeptClips(audio=kept.audio[rows], visual=kept.visual[rows], labels=labels)


def names_in(groups: Sequence[Sequence[str]], model: Model) -> dict[str, str]:
    """For each class of a model its name in a merged one, which may have another normal form.

    Args:
        groups: Class names of the merged model.
        model: A model, whose classes need not be among them.
    """
    spelled = {unicodedata.normalize("NFC", name): name for group in groups for name in group}
    return {name: spelled.get(unicodedata.normalize("NFC", name), name) for name in model.classes}


def renamed(kept: KeptClips, names: Mapping[str, str]) -> KeptClips:
    """A copy with other class names."""
    labels = tuple(tuple(names[name] for name in some) for some in kept.labels)
    return replace(kept, labels=labels)
