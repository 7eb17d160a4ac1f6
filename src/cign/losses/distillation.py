"""Distillation of the outputs of the model before a task.

Legend: B clips, C currently known classes, C_old classes known before the task.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation_loss(old_logits: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the soft-max outputs of the old and the current model at temperature T.

    Source: Li & Hoiem 2016, equations 2 and 3: both distributions are raised to 1 / T and
    normalised again, which is the soft-max of logits / T. As in the paper, there is no factor T^2.
    Its gradient is that of KL(old, current).

    Args:
        old_logits: Logits of the model before the task, shape [B, C_old].
        logits: Logits of the current model, shape [B, C] with C >= C_old; those of new classes are
            not used.
        temperature: T; 2 in the paper.

    Returns:
        Mean over clips, a scalar.
    """
    old = (old_logits / temperature).softmax(dim=-1)
    now = (logits[:, : old_logits.shape[-1]] / temperature).log_softmax(dim=-1)
    return -(old * now).sum(dim=-1).mean()


def sigmoid_distillation_loss(old_logits: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy with labels for new classes and sigmoids of the old model for old ones.

    Source: iCaRL, Rebuffi et al. 2017, algorithm 3. As there, the label of an exemplar is replaced
    by the output of the old model. The mean over classes, instead of their sum, is ours: it makes
    the scale of the loss independent of the number of classes.

    Args:
        old_logits: Logits of the model before the task, shape [B, C_old]; C_old = 0 in the first
            task.
        logits: Logits of the current model, shape [B, C].
        targets: Multi-hot labels, bool or 0/1, shape [B, C].

    Returns:
        Mean over clips and classes, a scalar.
    """
    new = targets[:, old_logits.shape[-1] :].to(logits.dtype)
    soft_targets = torch.cat([old_logits.sigmoid(), new], dim=-1)
    return F.binary_cross_entropy_with_logits(logits, soft_targets)


def masked_cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of a soft-max over the classes in the mask of each clip.

    Args:
        logits: Logits, shape [B, C].
        labels: Class of each clip, int64, shape [B]; the mask must include it.
        mask: Which classes to include, bool, shape [B, C].

    Returns:
        Mean over clips, a scalar.
    """
    return F.cross_entropy(logits.masked_fill(~mask, float("-inf")), labels)
