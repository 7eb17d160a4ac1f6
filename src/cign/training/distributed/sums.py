"""Sums over clips when several processes share each batch.

Within a phase each process holds partial sums; they are reduced after the phase and before a
checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cign.errors import InputError
from cign.methods.base import Method

Marks = dict[str, tuple[int, int]]


def refuse_whole_batch(method: Method, *, keeps_clips: bool) -> None:
    """Refuse a method whose loss is not a mean over clips and so cannot be split by clips.

    Raises:
        InputError: With the reason.
    """
    why = method.whole_batch_reason(keeps_clips=keeps_clips)
    if why:
        raise InputError(
            "unsupported",
            f"method {method.name} cannot be trained by several processes ({why}): run it in one",
        )


def partial_sums(method: Method, losses: Mapping[str, Tensor], *, absorbs: bool) -> list[Tensor]:
    """The tensors that are sums over the clips of one process within a phase.

    Args:
        method: The method; its sum buffers are included if the phase absorbs clips.
        losses: Sums of the epoch's losses.
        absorbs: Whether the phase absorbs clips in closed form instead of taking gradient steps.
    """
    sums = list(losses.values())
    if absorbs:
        names = method.sums_over_clips
        sums += [b for name, b in method.named_buffers() if name.rpartition(".")[2] in names]
    return sums


def marks_of(method: Method) -> Marks:
    """Identity and version counter of each buffer."""
    return {name: (id(x), x._version) for name, x in method.named_buffers()}


def check_sums(method: Method, before: Marks) -> None:
    """Refuse a closed-form method that changes buffers which are not summed over processes.

    Args:
        method: A method that has just absorbed a batch.
        before: Marks of its buffers before the batch.

    Raises:
        InputError: With the first such buffer.
    """
    moved = [name for name, mark in marks_of(method).items() if before.get(name) != mark]
    odd = [name for name in moved if name.rpartition(".")[2] not in method.sums_over_clips]
    if odd:
        raise InputError(
            "plugin-contract",
            f"method {method.name} changes buffer {odd[0]}, which is not summed over "
            "processes: list it in sums_over_clips, or train in one process",
        )
