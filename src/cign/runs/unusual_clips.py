"""Clips that few methods can learn: weighted, uncertain, or with none of the classes."""

from __future__ import annotations

from collections.abc import Sequence

from cign.data.clips import Clip
from cign.data.tasks import IntArray, TaskClips
from cign.errors import InputError
from cign.methods import METHODS, method_class
from cign.methods.base import Method


def check_weights(method: type[Method], clips: Sequence[Clip], where: str) -> None:
    """Refuse weights and shares of labels for a method that cannot learn with them.

    Args:
        method: The method.
        clips: All clips of a list; only training clips have weights.
        where: The list, for the error message.

    Raises:
        InputError: With the first training clip that has one.
    """
    if method.supports_weights:
        return
    for clip in clips:
        if clip.split == "train" and clip.uncertainty:
            names = [name for name in METHODS if method_class(name).supports_weights]
            raise InputError(
                "unsupported",
                f"{method.name} takes clips of weight 1 with certain labels, but clip {clip.id} of "
                f"{where} has another weight or shares of labels: use {' or '.join(names)}",
            )


def without_background(clips: TaskClips, indices: IntArray) -> IntArray:
    """Those of some clips that are not background."""
    return indices if clips.background is None else indices[~clips.background[indices]]
