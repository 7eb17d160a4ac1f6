"""Constraints on the similarity of audio and visual features of clips.

Source: Pian et al. 2023, AV-CIL: dual audio-visual similarity constraint and visual attention
distillation, from the description in the paper; reductions and symmetry are ours.
Legend: B clips, N visual tokens, E width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_similarities(audio: Tensor, visual: Tensor, temperature: float) -> Tensor:
    """Cosine similarity of all audio and visual features over the temperature, shape [B, B].

    Args:
        audio: Audio features, shape [B, E].
        visual: Visual features, shape [B, E].
        temperature: Divides the cosine similarities.
    """
    return F.normalize(audio, dim=1) @ F.normalize(visual, dim=1).T / temperature


def instance_contrast(similarities: Tensor) -> Tensor:
    """Contrastive loss between audio and visual features of the same clip within the batch.

    It is InfoNCE; the mean of both directions is ours.

    Args:
        similarities: Output of `pair_similarities`, [audio, visual].

    Returns:
        A scalar.
    """
    own = torch.arange(len(similarities), device=similarities.device)
    return (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2


def class_contrast(similarities: Tensor, labels: Tensor) -> Tensor:
    """Contrastive loss between audio and visual features of the same class within the batch.

    It is the supervised contrastive loss (Khosla et al. 2020, with the mean over positives outside
    of the log) across modalities; the pair of the same clip is one of the positives. The mean of
    both directions is ours.

    Args:
        similarities: Output of `pair_similarities`.
        labels: Labels, int64, shape [B].

    Returns:
        A scalar.
    """
    same = (labels[:, None] == labels[None, :]).to(similarities.dtype)
    share = same / same.sum(dim=1, keepdim=True)  # symmetric, so valid for both directions
    directions = (similarities, similarities.T)
    terms = [-(share * s.log_softmax(dim=1)).sum(dim=1).mean() for s in directions]
    return torch.stack(terms).mean()


def attention_distillation(old: Tensor, now: Tensor, weight: Tensor) -> Tensor:
    """KL(old, current) between attention maps, averaged over the selected clips.

    Args:
        old: Log attention of the model before the task, shape [B, N].
        now: Log attention of the current model, same shape.
        weight: Which clips to include, 0/1 or bool, shape [B].

    Returns:
        A scalar; zero if no clip is included.
    """
    weight = weight.to(now.dtype)
    distance = F.kl_div(now, old, reduction="none", log_target=True).sum(dim=1)
    return (distance * weight).sum() / weight.sum().clamp(min=1.0)
