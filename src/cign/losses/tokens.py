"""Losses on class tokens: classification of raw tokens and distillation from the old model.

Legend: C classes, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def token_classification_loss(logits: Tensor) -> Tensor:
    """Classify each class token as its own class: cross-entropy of row i against class i.

    Source: the CIGN release; the mean over tokens is ours.

    Args:
        logits: Logits of the token head on the raw class tokens, shape [C, C].

    Returns:
        A scalar.
    """
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def token_distillation_loss(old_logits: Tensor, logits: Tensor) -> Tensor:
    """Mean of KL(old, current) between token distributions over the old classes.

    The CIGN paper names this loss; direction, temperature 1, the soft-max over only the first C_old
    outputs, and the mean over tokens (and clips) are ours.

    Args:
        old_logits: Token logits of the model before the task, shape [..., C_old, C_old].
        logits: Current token logits of the tokens of old classes, shape [..., C_old, C] with
            C >= C_old; outputs beyond C_old are not used.

    Returns:
        A scalar.
    """
    num_old = old_logits.shape[-1]
    old = old_logits.log_softmax(dim=-1)
    now = logits[..., :num_old].log_softmax(dim=-1)
    return F.kl_div(now, old, reduction="none", log_target=True).sum(dim=-1).mean()
