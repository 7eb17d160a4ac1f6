"""Classification losses over the classes seen so far.

Legend: B clips, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def classification_loss(logits: Tensor, targets: Tensor, *, multi_label: bool) -> Tensor:
    """Cross-entropy, or binary cross-entropy if clips may have several labels.

    Args:
        logits: Logits, shape [B, C].
        targets: Multi-hot labels, bool or 0/1, shape [B, C].
        multi_label: Whether to use binary cross-entropy.

    Returns:
        Mean over clips (and over classes for the binary form), a scalar.
    """
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
    return F.cross_entropy(logits, targets.to(logits.dtype))


def masked_binary_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of sigmoid(logits), averaged over the entries in the mask.

    It is the grouping loss of CIGN for one modality [release]; the mask selects its negatives
    (ours).

    Args:
        logits: Logits, shape [B, C].
        targets: Multi-hot labels, bool or 0/1, shape [B, C].
        mask: Which entries to include, bool, shape [B, C].

    Returns:
        A scalar; zero if the mask is empty.
    """
    losses = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")
    mask = mask.to(logits.dtype)
    return (losses * mask).sum() / mask.sum().clamp(min=1.0)


def negatives_mask(from_memory: Tensor, num_old: int, num_classes: int, negatives: str) -> Tensor:
    """Which classes to include in the cross-entropy of each clip.

    Args:
        from_memory: Which clips are exemplars of old classes, bool, shape [B].
        num_old: Number of classes known before this task.
        num_classes: Number of classes known now, C.
        negatives: ``all``: old classes are negatives of new clips [release]; ``new``: only the new
            classes are included for a new clip, all classes for an exemplar (ours).

    Returns:
        The mask, bool, shape [B, C].
    """
    mask = torch.ones(len(from_memory), num_classes, dtype=torch.bool, device=from_memory.device)
    if negatives == "new":
        mask[:, :num_old] = from_memory.unsqueeze(1)
    return mask
