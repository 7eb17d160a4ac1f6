"""Constraints on what sound and picture of a clip have in common.

Source: Pian et al. 2023, AV-CIL: dual audio-visual similarity constraint and visual attention
distillation, after the paper's description; reductions and symmetry are ours.
Legend: B clips, N visual tokens, E width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_similarities(audio: Tensor, visual: Tensor, temperature: float) -> Tensor:
    """Cosine of each sound with each picture over the temperature, shape [B, B].

    Args:
        audio: Audio features, shape [B, E].
        visual: Visual features, shape [B, E].
        temperature: Divides the cosines.
    """
    return F.normalize(audio, dim=1) @ F.normalize(visual, dim=1).T / temperature


def instance_contrast(similarities: Tensor) -> Tensor:
    """Each sound must find its own clip's picture in the batch, and each picture its sound.

    InfoNCE; the mean of both directions is ours.

    Args:
        similarities: As `pair_similarities` gives them, [sound, picture].

    Returns:
        A scalar.
    """
    own = torch.arange(len(similarities), device=similarities.device)
    return (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2


def class_contrast(similarities: Tensor, labels: Tensor) -> Tensor:
    """Each sound must find the pictures of its class in the batch, and each picture the sounds.

    Supervised contrast (Khosla et al. 2020, the mean over positives outside of the log) across
    modalities; the clip's own partner is one of the positives. Both directions: ours.

    Args:
        similarities: As `pair_similarities` gives them.
        labels: int64, shape [B].

    Returns:
        A scalar.
    """
    same = (labels[:, None] == labels[None, :]).to(similarities.dtype)
    share = same / same.sum(dim=1, keepdim=True)  # symmetric in its zeros, so it serves both ways
    directions = (similarities, similarities.T)
    terms = [-(share * s.log_softmax(dim=1)).sum(dim=1).mean() for s in directions]
    return torch.stack(terms).mean()


def attention_distillation(old: Tensor, now: Tensor, weight: Tensor) -> Tensor:
    """KL(before, now) between attention maps, mean over the clips that count.

    Args:
        old: Logarithms of the map of the model before the task, shape [B, N].
        now: Of the model now, same shape.
        weight: Which clips count, 0/1 or bool, shape [B].

    Returns:
        A scalar; zero if none counts.
    """
    weight = weight.to(now.dtype)
    distance = F.kl_div(now, old, reduction="none", log_target=True).sum(dim=1)
    return (distance * weight).sum() / weight.sum().clamp(min=1.0)
