"""Tasks: their classes, their order and their clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from cign.data.clips import Clip
from cign.errors import InputError
from cign.utils.seeding import stream

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
HashArray = NDArray[np.uint8]
IntArray = NDArray[np.int64]

SOURCE_SEPARATOR = " + "
"""Between the recordings of a clip that was mixed from several."""


def are_among(some: HashArray, others: HashArray) -> BoolArray:
    """Which of some hashes are among others, shape [n].

    Args:
        some: Shape [n, L].
        others: Shape [m, L].
    """
    first, second = (
        np.ascontiguousarray(values, dtype=np.uint8).view(f"V{some.shape[1]}").ravel()
        for values in (some, others)
    )
    return np.isin(first, second)


@dataclass(frozen=True)
class TaskSequence:
    """Groups of classes in the order in which they are learned.

    Attributes:
        groups: The class names of each task, in class order.
    """

    groups: tuple[tuple[str, ...], ...]

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.groups)

    @cached_property
    def class_order(self) -> tuple[str, ...]:
        """All classes, ordered by task."""
        return tuple(name for group in self.groups for name in group)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each task."""
        return tuple(len(group) for group in self.groups)

    def num_seen(self, task: int) -> int:
        """Return the number of classes known after task ``task`` (from 0)."""
        return sum(self.sizes[: task + 1])

    @cached_property
    def task_of_class(self) -> IntArray:
        """The task of each class in class order, shape [C]."""
        return np.repeat(np.arange(self.num_tasks, dtype=np.int64), self.sizes)


def split_into_tasks(
    class_names: Sequence[str], num_tasks: int, order: int = 0, *, num_base: int | None = None
) -> TaskSequence:
    """Split the classes into tasks of equal size; the first tasks get one more if necessary.

    Args:
        class_names: The classes in the order of the data.
        num_tasks: Number of tasks.
        order: 0 preserves the order of the data, k > 0 permutes it with seed k.
        num_base: Number of classes of the first task, and only the others are split evenly; None
            splits all of them.

    Raises:
        InputError: If there are more tasks than classes, or a number is out of range.
    """
    if not 1 <= num_tasks <= len(class_names):
        raise InputError(
            "bad-value",
            f"{num_tasks} tasks do not fit {len(class_names)} classes: "
            f"use --tasks between 1 and {len(class_names)}",
        )
    names = [class_names[i] for i in _permutation(len(class_names), order)]
    if num_base is not None:
        most = len(names) - num_tasks + 1
        if num_tasks < 2 or not 1 <= num_base <= most:
            raise InputError(
                "bad-value",
                f"{num_base} base classes of {len(names)} do not leave a class for each of "
                f"{num_tasks - 1} later tasks: use 2 tasks or more, and --base-classes between 1 "
                f"and {max(1, most)}",
            )
        later = split_into_tasks(names[num_base:], num_tasks - 1)
        return TaskSequence((tuple(names[:num_base]), *later.groups))
    size, rest = divmod(len(names), num_tasks)
    groups, start = [], 0
    for task in range(num_tasks):
        stop = start + size + (task < rest)
        groups.append(tuple(names[start:stop]))
        start = stop
    return TaskSequence(tuple(groups))


def read_task_file(path: Path, class_names: Sequence[str], order: int = 0) -> TaskSequence:
    """Read published groups: a JSON or YAML list of lists of class names.

    The classes of a group stay together; ``order`` k > 0 permutes only the groups.

    Raises:
        InputError: If the file is not such a list, or does not name each class exactly once.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            "file-unreadable", f"task file {path} cannot be read ({error}): check the path"
        ) from None
    shape_ok = isinstance(value, list) and all(
        isinstance(group, list) and group and all(isinstance(name, str) for name in group)
        for group in value
    )
    if not shape_ok or not value:
        raise InputError(
            "bad-list", f"task file {path} must be a list of non-empty lists of class names"
        )
    named = [name for group in value for name in group]
    repeated = sorted({name for name in named if named.count(name) > 1})
    unknown = sorted(set(named) - set(class_names))
    missing = sorted(set(class_names) - set(named))
    if repeated or unknown or missing:
        problem, names = (
            ("names a class twice", repeated)
            if repeated
            else ("names a class the store lacks", unknown)
            if unknown
            else ("leaves out a class of the store", missing)
        )
        raise InputError(
            "bad-list", f"task file {path} {problem}: {names[0]!r}; name each class exactly once"
        )
    return TaskSequence(tuple(tuple(value[i]) for i in _permutation(len(value), order)))


def _permutation(length: int, order: int) -> IntArray:
    """Return the identity for order 0, else a permutation that depends only on ``order``."""
    if order < 0:
        raise InputError(
            "bad-value",
            f"class order {order} is negative: use 0 for the order of the data, or k > 0",
        )
    if order == 0:
        return np.arange(length, dtype=np.int64)
    return stream(order, 0x0DE5).permutation(length).astype(np.int64)


@dataclass(frozen=True)
class TaskClips:
    """Task and targets of each clip, for a store and a task sequence.

    Attributes:
        tasks: The task sequence.
        targets: Labels as a multi-hot matrix over the class order, shape [N, C].
        task_of_clip: Shape [N]: the latest task among a clip's classes (a clip belongs to exactly
            one task); -1 for clips with a class that is never learned.
        sources: The recordings that each clip was cut from.
        arrival: Shape [N]: the task in which a clip arrives, which is ``task_of_clip`` unless the
            stream of the training clips differs (`cign.data.streams`); -1 for clips that never do.
            Background, which has no class, arrives with the first task.
        weights: Weights of the clips, shape [N]; None if all are 1.
        shares: Shares of the labels, shape [N, C]; None if all labels are certain.
        background: Which clips have none of the classes, shape [N]; None if no clip is one.
        hashes: SHA-256 of each clip's decoded content, shape [N, 32]; None if they are unknown.
    """

    tasks: TaskSequence
    targets: BoolArray
    task_of_clip: IntArray
    sources: tuple[tuple[str, ...], ...]
    arrival: IntArray
    hashes: HashArray | None = None
    weights: FloatArray | None = None
    shares: FloatArray | None = None
    background: BoolArray | None = None

    @classmethod
    def of_clips(
        cls, clips: Sequence[Clip], tasks: TaskSequence, hashes: HashArray | None = None
    ) -> TaskClips:
        """Compute targets and tasks of clips, with their recordings, weights and shares.

        Args:
            clips: The clips.
            tasks: The task sequence.
            hashes: See `TaskClips`.
        """
        labels, sources = [clip.labels for clip in clips], [clip.source for clip in clips]
        found = cls.of(labels, tasks, sources, hashes)
        weights = np.array([clip.weight for clip in clips], dtype=np.float64)
        shares = None
        if any(clip.shares for clip in clips):
            position = {name: i for i, name in enumerate(tasks.class_order)}
            shares = found.targets.astype(np.float64)
            for row, clip in enumerate(clips):
                for name, share in zip(clip.labels, clip.shares, strict=False):
                    if name in position:
                        shares[row, position[name]] = share
        return replace(found, weights=None if (weights == 1.0).all() else weights, shares=shares)

    @classmethod
    def of(
        cls,
        labels: Sequence[tuple[str, ...]],
        tasks: TaskSequence,
        sources: Sequence[str] | None = None,
        hashes: HashArray | None = None,
    ) -> TaskClips:
        """Compute targets and tasks from each clip's labels.

        Args:
            labels: Class names of each clip.
            tasks: The task sequence.
            sources: Recording that each clip was cut from, several joined by `SOURCE_SEPARATOR`;
                None if each clip is a recording of its own.
            hashes: See `TaskClips`.
        """
        position = {name: i for i, name in enumerate(tasks.class_order)}
        targets = np.zeros((len(labels), len(position)), dtype=np.bool_)
        task_of_clip = np.full(len(labels), -1, dtype=np.int64)
        background = np.array([len(names) == 0 for names in labels], dtype=np.bool_)
        for clip, names in enumerate(labels):
            columns = [position[name] for name in names if name in position]
            targets[clip, columns] = True
            if names and len(columns) == len(names):
                task_of_clip[clip] = tasks.task_of_class[columns].max()
        if sources is None:
            sources = [str(number) for number in range(len(labels))]
        recordings = tuple(tuple(source.split(SOURCE_SEPARATOR)) for source in sources)
        found = cls(tasks, targets, task_of_clip, recordings, task_of_clip.copy(), hashes)
        if not background.any():
            return found
        return replace(found, arrival=np.where(background, 0, task_of_clip), background=background)

    def take(self, indices: IntArray) -> TaskClips:
        """Some of the clips."""
        arrays = ("targets", "task_of_clip", "arrival", "hashes", "weights", "shares", "background")
        taken: dict[str, Any] = {
            name: values[indices] for name in arrays if (values := getattr(self, name)) is not None
        }
        return replace(self, sources=tuple(self.sources[i] for i in indices), **taken)

    @property
    def is_multi_label(self) -> bool:
        """Whether any clip has more than one class of the task sequence in full."""
        in_full = self.targets if self.shares is None else self.shares == 1.0
        return bool((in_full.sum(axis=1) > 1).any())

    def class_of(self, indices: IntArray) -> IntArray:
        """Return the class each clip counts for, shape [n]; -1 for background.

        It is the first class of the clip's own task.
        """
        own = self.tasks.task_of_class == self.task_of_clip[indices, None]
        first: IntArray = (self.targets[indices] & own).argmax(axis=1)
        return first if self.background is None else np.where(self.background[indices], -1, first)

    def of_task(self, indices: IntArray, task: int) -> IntArray:
        """Return those of ``indices`` that arrive in task ``task``."""
        chosen: IntArray = indices[self.arrival[indices] == task]
        return chosen

    def up_to(self, indices: IntArray, task: int) -> IntArray:
        """Return those of ``indices`` that arrive in task ``task`` or an earlier task."""
        tasks = self.arrival[indices]
        chosen: IntArray = indices[(tasks >= 0) & (tasks <= task)]
        return chosen
