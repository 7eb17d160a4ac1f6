"""Classification losses over the classes seen so far.

Legend: B clips, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def classification_loss(logits: Tensor, targets: Tensor, *, multi_label: bool) -> Tensor:
    """Cross-entropy, or binary cross-entropy where a clip may carry several labels.

    Args:
        logits: Shape [B, C].
        targets: Multi-hot labels, bool or 0/1, shape [B, C].
        multi_label: Which of the two.

    Returns:
        Mean over clips (and over classes for the binary form), a scalar.
    """
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
    return F.cross_entropy(logits, targets.to(logits.dtype))


def masked_binary_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of sigmoid(logits), mean over the entries that count.

    The grouping loss of CIGN for one modality [release]; the mask chooses its negatives (ours).

    Args:
        logits: Shape [B, C].
        targets: Multi-hot labels, bool or 0/1, shape [B, C].
        mask: Which entries count, bool, shape [B, C].

    Returns:
        A scalar; zero if nothing counts.
    """
    losses = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")
    mask = mask.to(logits.dtype)
    return (losses * mask).sum() / mask.sum().clamp(min=1.0)


def negatives_mask(from_memory: Tensor, num_old: int, num_classes: int, negatives: str) -> Tensor:
    """Which classes count in the binary cross-entropy of each clip.

    Args:
        from_memory: Which clips are exemplars of old classes, bool, shape [B].
        num_old: Classes known before this task.
        num_classes: Classes known now, C.
        negatives: ``all``: old classes are negatives of new clips [release]; ``new``: a new clip
            counts for the new classes only, an exemplar for all (ours).

    Returns:
        bool, shape [B, C].
    """
    mask = torch.ones(len(from_memory), num_classes, dtype=torch.bool, device=from_memory.device)
    if negatives == "new":
        mask[:, :num_old] = from_memory.unsqueeze(1)
    return mask
