"""Distillation of the outputs of the model before a task.

Legend: B clips, C classes known now, C_old classes known before the task.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation_loss(old_logits: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the tempered soft-max of the old model and that of the model now.

    Source: Li & Hoiem 2016, equations 2 and 3: both distributions are raised to 1 / T and
    normalised again, which is the soft-max of logits / T. As there, no factor T^2. Its gradient
    is that of KL(old, now).

    Args:
        old_logits: Of the model before the task, shape [B, C_old].
        logits: Of the model now, shape [B, C] with C >= C_old; the rest is left out.
        temperature: T; the paper takes 2.

    Returns:
        Mean over clips, a scalar.
    """
    old = (old_logits / temperature).softmax(dim=-1)
    now = (logits[:, : old_logits.shape[-1]] / temperature).log_softmax(dim=-1)
    return -(old * now).sum(dim=-1).mean()


def sigmoid_distillation_loss(old_logits: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy: labels for the new classes, the old model's sigmoids for the old.

    Source: iCaRL, Rebuffi et al. 2017, algorithm 3. An exemplar's own label counts only through
    what the old model says of it, as there. The mean over classes, instead of their sum, is ours:
    it keeps the size of the loss the same whatever the number of classes.

    Args:
        old_logits: Of the model before the task, shape [B, C_old]; C_old = 0 at the first task.
        logits: Of the model now, shape [B, C].
        targets: Multi-hot labels, bool or 0/1, shape [B, C].

    Returns:
        Mean over clips and classes, a scalar.
    """
    new = targets[:, old_logits.shape[-1] :].to(logits.dtype)
    wanted = torch.cat([old_logits.sigmoid(), new], dim=-1)
    return F.binary_cross_entropy_with_logits(logits, wanted)


def masked_cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of a soft-max over the classes that count for each clip.

    Args:
        logits: Shape [B, C].
        labels: Class of each clip, int64, shape [B]; it must count.
        mask: Which classes count, bool, shape [B, C].

    Returns:
        Mean over clips, a scalar.
    """
    return F.cross_entropy(logits.masked_fill(~mask, float("-inf")), labels)
