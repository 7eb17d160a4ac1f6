"""Streams: which training clip arrives in which task, if not every clip in that of its classes.

`few_shot` follows few-shot class-incremental learning (Tao et al., CVPR 2020): a base task with all
its clips, then a few clips of each class. docs/streams.md has the definitions. Draws depend on the
seed and on the place of a class in the class order.
"""

from __future__ import annotations

import numpy as np

from cign.data.tasks import IntArray, TaskClips
from cign.utils.seeding import stream

_SHOTS = 0x5407  # key of the random numbers


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
    arrival = clips.task_of_clip.copy()
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
