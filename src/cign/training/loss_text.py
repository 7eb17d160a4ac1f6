"""The loss in words, for a line of progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

_NO_LOSS = ("task", "phase", "epoch")


def loss_so_far(sums: Mapping[str, Tensor], num_steps: int) -> str:
    """The mean loss of the steps of an epoch so far, all its terms added.

    The host waits for the device here.

    Args:
        sums: Sums of each term over the steps.
        num_steps: How many.

    Returns:
        For example ``loss 0.5312``; empty without a loss or a step.
    """
    if not sums or not num_steps:
        return ""
    return f"loss {sum(map(float, sums.values())) / num_steps:.4g}"


def loss_of_epoch(losses: Sequence[Mapping[str, Any]], task: int) -> str:
    """The mean loss of the epoch that ended last, if it is of a task and had a loss.

    Args:
        losses: The entries of all epochs, as `cign.training.loop.Loop` keeps them.
        task: Number of the task.
    """
    if not losses or losses[-1]["task"] != task:
        return ""
    terms = [value for name, value in losses[-1].items() if name not in _NO_LOSS]
    return f"loss {sum(terms):.4g}" if terms else ""
