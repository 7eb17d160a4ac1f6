"""Losses with a separate soft-max per task: old and new classes never compete in one.

Source: Ahn et al. 2021, SS-IL: separated softmax, task-wise knowledge distillation.
Legend: B clips, C classes seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def separated_cross_entropy(logits: Tensor, targets: Tensor, num_old: int) -> Tensor:
    """Cross-entropy over the old classes for old clips and over the new classes for new clips.

    Args:
        logits: Logits, shape [B, C].
        targets: One-hot labels, bool, shape [B, C].
        num_old: Number of classes known before the task, the first of the C.

    Returns:
        Mean over all clips, a scalar.
    """
    groups = (slice(0, num_old), slice(num_old, None))
    log_p = torch.cat([logits[:, group].log_softmax(dim=1) for group in groups], dim=1)
    return -(log_p * targets.to(logits.dtype)).sum(dim=1).mean()


def task_wise_distillation(
    old_logits: Tensor, logits: Tensor, task_sizes: Sequence[int], temperature: float
) -> Tensor:
    """Sum over old tasks of KL(old, current) between soft-maxes over the classes of one task.

    It is multiplied by the squared temperature, so that gradients do not shrink with it (Hinton et
    al. 2015).

    Args:
        old_logits: Logits of the model before the task, shape [B, C_old].
        logits: Logits of the current model, shape [B, C] with C >= C_old; those of new classes are
            not used.
        task_sizes: Number of classes of each old task; they add up to C_old.
        temperature: Temperature of both soft-maxes.

    Returns:
        Mean over clips, a scalar.
    """
    assert sum(task_sizes) == old_logits.shape[1]
    sizes = list(task_sizes)
    pairs = zip(
        old_logits.split(sizes, dim=1),
        logits[:, : old_logits.shape[1]].split(sizes, dim=1),
        strict=True,
    )
    terms = [
        F.kl_div(
            (now / temperature).log_softmax(dim=1),
            (old / temperature).log_softmax(dim=1),
            reduction="batchmean",
            log_target=True,
        )
        for old, now in pairs
    ]
    return temperature**2 * torch.stack(terms).sum()
