"""Run options of the stream: how training clips arrive. docs/streams.md has the definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cign.errors import InputError
from cign.runs.options import option
from cign.utils.options import refuse_ignored
from cign.vocabulary import STREAMS

if TYPE_CHECKING:
    from cign.data.tasks import IntArray, TaskClips, TaskSequence
    from cign.training.online import Online

OPTIONS_OF = {
    "blurry": ("blurry_share",),
    "online": ("evaluations",),
    "fewshot": ("base_classes", "shots"),
}
_DRAWN = ("blurry", "fewshot")


@dataclass(frozen=True, kw_only=True)
class ArrivalConfig:
    """How the training clips arrive."""

    stream: str = option(
        "tasks",
        "how training clips arrive: tasks (default), blurry (some clips of each class in later "
        "tasks), online (each clip once, in batches of 10) or fewshot (a base task, then a few "
        "clips of each class)",
        heading="tasks and seeds",
        choices=STREAMS,
    )
    blurry_share: float = option(
        0.1,
        "with --stream blurry: share of each class's clips in later tasks (default: 0.1)",
        heading="tasks and seeds",
        metavar="X",
        least=0.0,
    )
    evaluations: int = option(
        10,
        "with --stream online: number of evaluations in each task (default: 10)",
        heading="tasks and seeds",
        metavar="N",
        least=1,
    )
    base_classes: int = option(
        0,
        "with --stream fewshot: number of classes of the base task (default: half of them)",
        heading="tasks and seeds",
        metavar="N",
        least=0,
    )
    shots: int = option(
        5,
        "with --stream fewshot: clips of each class after the base task (default: 5)",
        heading="tasks and seeds",
        metavar="K",
        least=1,
    )

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0.0 < self.blurry_share < 1.0:
            raise InputError(
                "bad-value", f"blurry_share {self.blurry_share} must be above 0 and below 1"
            )

    @property
    def is_drawn(self) -> bool:
        """Whether the seed decides which clips arrive in which task."""
        return self.stream in _DRAWN

    def cut(self, class_names: Sequence[str], num_tasks: int, order: int) -> TaskSequence:
        """Split the classes into tasks.

        Args:
            class_names: The classes in the order of the data.
            num_tasks: Number of tasks, with the base task.
            order: As in `split_into_tasks`.

        Raises:
            InputError: If the stream does not fit the numbers of tasks and classes.
        """
        from cign.data.tasks import split_into_tasks  # slow import

        num_base = None
        if self.stream == "fewshot" and num_tasks > 1:
            num_base = self.base_classes or (len(class_names) + 1) // 2
        tasks = split_into_tasks(class_names, num_tasks, order, num_base=num_base)
        self.check_tasks(tasks)
        return tasks

    def check_tasks(self, tasks: TaskSequence) -> None:
        """Refuse options of another stream, and tasks that the stream cannot have.

        Raises:
            InputError: If an option would be ignored, there is one task only, or the base task has
                another number of classes.
        """
        self.refuse_ignored()
        if self.is_drawn and tasks.num_tasks < 2:
            raise InputError(
                "bad-value", f"stream {self.stream} needs several tasks: use --tasks 2 or more"
            )
        if self.base_classes not in (0, tasks.sizes[0]):
            raise InputError(
                "conflicting-options",
                f"the given tasks begin with {tasks.sizes[0]} classes, not with base_classes "
                f"{self.base_classes}: leave base_classes out",
            )

    def refuse_ignored(self) -> None:
        """Refuse options of another stream.

        Raises:
            InputError: With the first of them.
        """
        for stream, names in OPTIONS_OF.items():
            if stream != self.stream:
                refuse_ignored(self, names, f"stream {self.stream}", f"use --stream {stream}")

    def drawn(self, clips: TaskClips, train: IntArray, seed: int) -> TaskClips:
        """Tasks and targets of all clips, with the tasks in which training clips arrive.

        Args:
            clips: Those of disjoint tasks.
            train: Indices of the usable training clips.
            seed: Seed of the run.

        Raises:
            InputError: If the stream cannot have these tasks or clips.
        """
        from cign.data.streams import blurry, few_shot  # slow import

        self.check_tasks(clips.tasks)
        if self.stream == "blurry":
            return replace(clips, arrival=blurry(clips, train, self.blurry_share, seed))
        if self.stream == "fewshot":
            return replace(clips, arrival=few_shot(clips, train, self.shots, seed))
        return clips

    def online(self) -> Online | None:
        """The evaluations of an online run, none of them made yet; None for other streams."""
        from cign.training.online import Online  # slow import

        return Online(number=self.evaluations) if self.stream == "online" else None

    def check_branch(self, run: Path, seeds: tuple[int, int], *, same_tasks: bool) -> None:
        """Refuse a branch for which other clips would have arrived before it.

        Args:
            run: Folder of the run that is branched from, which has the same stream.
            seeds: Seeds of that run and of the branch.
            same_tasks: Whether both have the same tasks.

        Raises:
            InputError: If the draw of its clips would differ.
        """
        if self.stream == "blurry" and not same_tasks:
            raise InputError(
                "resume-mismatch",
                f"run {run} has drawn its stream blurry for its own tasks, and a branch continues "
                "it: leave the tasks out",
            )
        was, now = seeds
        if self.is_drawn and was != now:
            raise InputError(
                "resume-mismatch",
                f"run {run} has drawn its stream {self.stream} with seed {was}, not {now}, and a "
                "branch continues it: leave seed out",
            )
