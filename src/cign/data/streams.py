"""Streams: which training clip arrives in which task, if not every clip in that of its classes.

`blurry` lets a share of each class's clips arrive in later tasks, in the spirit of i-Blurry (Koh
et al., ICLR 2022) and Si-Blurry (Moon et al., ICCV 2023). `few_shot` follows few-shot
class-incremental learning (Tao et al., CVPR 2020): a base task with all its clips, then a few clips
of each class. docs/streams.md has the definitions and says what is ours. Draws depend on the seed
and on the place of a class in the class order.
"""

from __future__ import annotations

import numpy as np

from cign.data.tasks import IntArray, TaskClips
from cign.errors import InputError
from cign.utils.seeding import stream

_SHOTS, _BLURRY = 0x5407, 0xB10B  # keys of the random numbers


def blurry(clips: TaskClips, train: IntArray, share: float, seed: int) -> IntArray:
    """Let a share of the training clips of each class arrive in later tasks.

    Of n clips of a class, as many as ``share`` n, rounded, recur evenly in the tasks after its own.
    Clips of a class that share a recording recur together, so that no recording is learned in two
    tasks; where they do not fit, fewer recur. Classes of the last task do not recur. A clip with
    several labels counts for the class of `TaskClips.class_of`.

    Args:
        clips: Tasks and targets of all clips.
        train: Indices of the training clips.
        share: Share of the clips of each class that recur, in (0, 1).
        seed: Seed of the draw.

    Returns:
        Shape [N]: the task in which each clip arrives.

    Raises:
        InputError: If a class has no clip left in its own task, or no clip recurs.
    """
    arrival = clips.arrival.copy()
    taught = train[clips.task_of_clip[train] >= 0]
    classes, num_tasks = clips.class_of(taught), clips.tasks.num_tasks
    for c, task in enumerate(clips.tasks.task_of_class):
        members = taught[classes == c]
        rng = stream(seed, _BLURRY, c)
        later, room = (
            rng.permutation(np.arange(task + 1, num_tasks)),
            int(share * len(members) + 0.5),
        )
        number = 0
        for group in _shuffled(_recordings(clips, members), rng) if len(later) else ():
            if len(group) > room:
                continue
            room -= len(group)
            arrival[group] = later[number % len(later)]
            number += 1
    _check_blurry(clips, train, arrival, share)
    return arrival


def _recordings(clips: TaskClips, members: IntArray) -> list[list[int]]:
    """Groups of clips that are linked by common recordings."""
    group_of: dict[str, list[int]] = {}
    for clip in members.tolist():
        linked: list[int] = [clip]
        for recording in clips.sources[clip]:
            known = group_of.get(recording, [])
            linked += [other for other in known if other not in linked]
        for other in linked:
            group_of.update(dict.fromkeys(clips.sources[other], linked))
    groups = {id(group): group for group in group_of.values()}
    return sorted(sorted(group) for group in groups.values())


def _shuffled(groups: list[list[int]], rng: np.random.Generator) -> list[list[int]]:
    return [groups[i] for i in rng.permutation(len(groups))]


def _check_blurry(clips: TaskClips, train: IntArray, arrival: IntArray, share: float) -> None:
    """Refuse a share that leaves a class without a clip in its own task, or that has no effect."""
    for c, task in enumerate(clips.tasks.task_of_class):
        members = train[clips.targets[train, c] & (clips.task_of_clip[train] == task)]
        if len(members) and not (arrival[members] == task).any():
            raise InputError(
                "no-clips",
                f"class {clips.tasks.class_order[c]!r} has {len(members)} training clips, and "
                f"blurry_share {share:g} leaves none in its own task: use a lower --blurry-share, "
                "or add clips",
            )
    if (arrival == clips.arrival).all():
        raise InputError(
            "bad-value",
            f"with blurry_share {share:g} no clip recurs in a later task: use a higher "
            "--blurry-share",
        )


def few_shot(clips: TaskClips, train: IntArray, shots: int, seed: int) -> IntArray:
    """Draw a few training clips of each class of the later tasks.

    Of a class with fewer clips, all are drawn. If clips have several labels, a clip counts for each
    of its classes, so that a class may get more than ``shots`` through the draws of others (ours).

    Args:
        clips: Tasks and targets of all clips.
        train: Indices of the training clips.
        shots: Number of clips of each class.
        seed: Seed of the draw.

    Returns:
        Shape [N]: the task in which each clip arrives; -1 for training clips that are not drawn.
    """
    arrival = clips.arrival.copy()
    own = clips.task_of_clip[train]
    arrival[train[own > 0]] = -1
    for c, task in enumerate(clips.tasks.task_of_class):
        if task == 0:
            continue
        members = train[clips.targets[train, c] & (own >= task)]
        missing = shots - int((arrival[members] >= 0).sum())
        waiting = stream(seed, _SHOTS, c).permutation(members[arrival[members] < 0])
        # Clips with several labels may arrive later than their class; those that do not come first.
        waiting = waiting[np.argsort(clips.task_of_clip[waiting], kind="stable")]
        drawn = waiting[: max(0, missing)]
        arrival[drawn] = clips.task_of_clip[drawn]
    return arrival
