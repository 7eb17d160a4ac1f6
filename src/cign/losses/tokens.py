"""Losses on class tokens: classification of raw tokens and distillation from the model before.

Legend: C classes, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def token_classification_loss(logits: Tensor) -> Tensor:
    """Each class token must be told from the others: cross-entropy of row i against class i.

    Source: the CIGN release; mean over tokens is ours.

    Args:
        logits: Token head on the raw class tokens, shape [C, C].

    Returns:
        A scalar.
    """
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def token_distillation_loss(old_logits: Tensor, logits: Tensor) -> Tensor:
    """Mean of KL(old, now) between token distributions over the old classes.

    Named in the CIGN paper; direction, temperature 1, the soft-max over the first C_old outputs
    only, and the mean over tokens (and clips) are ours.

    Args:
        old_logits: Token head of the model before the task, shape [..., C_old, C_old].
        logits: Token head now, on the old classes' tokens, shape [..., C_old, C] with C >= C_old;
            outputs beyond C_old are left out.

    Returns:
        A scalar.
    """
    num_old = old_logits.shape[-1]
    old = old_logits.log_softmax(dim=-1)
    now = logits[..., :num_old].log_softmax(dim=-1)
    return F.kl_div(now, old, reduction="none", log_target=True).sum(dim=-1).mean()
