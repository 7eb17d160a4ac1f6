"""The loss as text, for progress output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

_NO_LOSS = ("task", "phase", "epoch")


def loss_so_far(sums: Mapping[str, Tensor], num_steps: int) -> str:
    """The mean loss of an epoch so far, summed over its terms.

    Synchronizes host and device.

    Args:
        sums: Sums of each term over the steps.
        num_steps: Number of steps.

    Returns:
        For example ``loss 0.5312``; empty without a loss or a step.
    """
    if not sums or not num_steps:
        return ""
    return f"loss {sum(map(float, sums.values())) / num_steps:.4g}"


def loss_of_epoch(losses: Sequence[Mapping[str, Any]], task: int) -> str:
    """The mean loss of the last epoch, if it belongs to the task and had a loss.

    Args:
        losses: The entries of all epochs, as recorded by `cign.training.loop.Loop`.
        task: Number of the task.
    """
    if not losses or losses[-1]["task"] != task:
        return ""
    terms = [value for name, value in losses[-1].items() if name not in _NO_LOSS]
    return f"loss {sum(terms):.4g}" if terms else ""
