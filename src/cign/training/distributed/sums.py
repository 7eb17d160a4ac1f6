"""Sums over clips while several processes take some clips of each batch.

Within a phase a process holds its part of each sum; after it, and before a checkpoint, the parts
are added up.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cign.errors import InputError
from cign.methods.base import Method

Marks = dict[str, tuple[int, int]]


def refuse_whole_batch(method: Method, *, keeps_clips: bool) -> None:
    """Refuse a method whose loss is not a mean over clips, which parts of a batch cannot give.

    Raises:
        InputError: Naming the reason.
    """
    why = method.whole_batch_reason(keeps_clips=keeps_clips)
    if why:
        raise InputError(
            f"method {method.name} cannot be trained by several processes ({why}): run it in one"
        )


def partial_sums(method: Method, losses: Mapping[str, Tensor], *, absorbs: bool) -> list[Tensor]:
    """What holds only the clips of one process within a phase.

    Args:
        method: Its buffers count where it absorbs clips.
        losses: Sums of the epoch's losses.
        absorbs: Whether the phase absorbs clips instead of taking gradient steps.
    """
    sums = list(losses.values())
    if absorbs:
        names = method.sums_over_clips
        sums += [b for name, b in method.named_buffers() if name.rpartition(".")[2] in names]
    return sums


def marks_of(method: Method) -> Marks:
    """Which tensor each buffer is, and how often it was written to."""
    return {name: (id(x), x._version) for name, x in method.named_buffers()}


def check_sums(method: Method, before: Marks) -> None:
    """Refuse a closed form that takes clips into what would not be added up.

    Args:
        method: Has absorbed a batch.
        before: Marks of its buffers before that.

    Raises:
        InputError: With the first such buffer.
    """
    moved = [name for name, mark in marks_of(method).items() if before.get(name) != mark]
    odd = [name for name in moved if name.rpartition(".")[2] not in method.sums_over_clips]
    if odd:
        raise InputError(
            f"method {method.name} takes clips into {odd[0]}, which several processes do "
            "not add up: name it in its sums_over_clips, or train it in one process"
        )
