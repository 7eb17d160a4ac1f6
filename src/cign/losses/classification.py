"""Classification losses over the classes seen so far.

Legend: B clips, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def classification_loss(
    logits: Tensor, targets: Tensor, *, multi_label: bool, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy, or binary cross-entropy if clips may have several labels.

    Args:
        logits: Logits, shape [B, C].
        targets: Multi-hot labels, bool or 0/1, or shares of labels in [0, 1]; shape [B, C].
        multi_label: Whether to use binary cross-entropy.
        weights: Weights of the clips, shape [B]; None if all are 1.

    Returns:
        Mean over clips (and over classes for the binary form), a scalar. Weights do not change the
        number of clips: a batch of clips of weight 1/2 has half the loss.
    """
    if weights is not None:
        wanted = targets.to(logits.dtype)
        if multi_label:
            losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(
                dim=1
            )
        else:
            losses = F.cross_entropy(logits, wanted, reduction="none")
        return (losses * weights.to(losses)).mean()
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
    return F.cross_entropy(logits, targets.to(logits.dtype))


def clip_losses(
    logits: Tensor, targets: Tensor, mask: Tensor | None = None, *, multi_label: bool
) -> Tensor:
    """Classification loss of each clip over some of the classes.

    Args:
        logits: Logits, shape [B, C].
        targets: Multi-hot labels, bool, shape [B, C].
        mask: Which classes to include for each clip, bool, shape [B, C]; without ``multi_label`` it
            must include the label. None includes all classes.
        multi_label: Whether to use binary cross-entropy, averaged over the classes included.

    Returns:
        Losses, shape [B].
    """
    if mask is None:
        mask = torch.ones_like(targets, dtype=torch.bool)
    if multi_label:
        losses = F.binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), reduction="none"
        )
        return (losses * mask).sum(dim=1) / mask.sum(dim=1)
    labels = targets.to(torch.uint8).argmax(dim=1)
    return F.cross_entropy(logits.masked_fill(~mask, float("-inf")), labels, reduction="none")


def own_task_loss(
    logits: Tensor, targets: Tensor, task_sizes: Sequence[int], *, multi_label: bool
) -> Tensor:
    """Classification loss of each clip over the classes of its own task only.

    Logits of other tasks get no gradient from the clip, as if they were masked with minus infinity.
    A clip with several labels belongs to the latest task of its classes (ours).

    Args:
        logits: Logits, shape [B, C].
        targets: Multi-hot labels, bool, shape [B, C]; at least one in each row.
        task_sizes: Number of classes of each task; they add up to C.
        multi_label: Whether to use binary cross-entropy, averaged over the task's classes.

    Returns:
        Mean over clips, a scalar.
    """
    sizes = list(task_sizes)
    assert sum(sizes) == logits.shape[1]
    if len(sizes) == 1:
        return classification_loss(logits, targets, multi_label=multi_label)
    parts = list(zip(logits.split(sizes, dim=1), targets.split(sizes, dim=1), strict=True))
    if not multi_label:
        # The cross-entropy with a row of zeros is zero: a clip counts in its own task alone.
        terms = [classification_loss(*part, multi_label=False) for part in parts]
        return torch.stack(terms).sum()
    has_label = torch.stack([labels.any(dim=1) for _, labels in parts], dim=1)  # [B, T]
    num_from_here = has_label.flip(1).cumsum(dim=1).flip(1)
    is_own = has_label & (num_from_here == 1)
    losses = torch.stack([clip_losses(*part, multi_label=True) for part in parts], dim=1)
    return (losses * is_own).sum(dim=1).mean()


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


def negatives_mask(of_old: Tensor, num_old: int, num_classes: int, negatives: str) -> Tensor:
    """Which classes to include in the cross-entropy of each clip.

    Args:
        of_old: Which clips have old classes only (`Batch.of_old_classes`), bool, shape [B].
        num_old: Number of classes known before this task.
        num_classes: Number of classes known now, C.
        negatives: ``all``: old classes are negatives of clips of new classes [release]; ``new``:
            only the new classes are included for these, all classes for the others (ours).

    Returns:
        The mask, bool, shape [B, C].
    """
    mask = torch.ones(len(of_old), num_classes, dtype=torch.bool, device=of_old.device)
    if negatives == "new":
        mask[:, :num_old] = of_old.unsqueeze(1)
    return mask
