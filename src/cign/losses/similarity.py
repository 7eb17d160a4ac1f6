"""Constraints on the similarity of audio and visual features of clips, and on their attention.

Source: Pian et al. 2023, AV-CIL: dual audio-visual similarity constraint and visual attention
distillation; which form is whose: docs/methods/av_cil.md.
Legend: B clips, E width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ClassMean = Literal["pairs", "positives"]


def pair_similarities(audio: Tensor, visual: Tensor, temperature: float) -> Tensor:
    """Cosine similarity of all audio and visual features over the temperature, shape [B, B].

    Args:
        audio: Audio features, shape [B, E].
        visual: Visual features, shape [B, E].
        temperature: Divides the cosine similarities.
    """
    return F.normalize(audio, dim=1) @ F.normalize(visual, dim=1).T / temperature


def instance_contrast(similarities: Tensor) -> Tensor:
    """Contrast of each clip's audio features with the visual features of all clips of the batch.

    The visual features of the same clip are the positive, those of all others are negatives.

    Args:
        similarities: Output of `pair_similarities`, [audio, visual].

    Returns:
        A scalar, the mean over clips.
    """
    own = torch.arange(len(similarities), device=similarities.device)
    return F.cross_entropy(similarities, own)


def class_contrast(similarities: Tensor, labels: Tensor, over: ClassMean = "pairs") -> Tensor:
    """Contrast of each clip's audio features with all visual features, by class.

    The visual features of all clips of the same class are positives, those of the same clip among
    them; the logarithm is inside of the mean over them (as in Khosla et al. 2020).

    Args:
        similarities: Output of `pair_similarities`.
        labels: Labels, int64, shape [B].
        over: What the sum over a clip's positives is divided by: ``positives``, their number, or
            ``pairs``, the number of clips in the batch.

    Returns:
        A scalar, the mean over clips.
    """
    same = (labels[:, None] == labels[None, :]).to(similarities.dtype)
    number = same.sum(dim=1) if over == "positives" else len(labels)
    return -((same * similarities.log_softmax(dim=1)).sum(dim=1) / number).mean()


def attention_distillation(old: Tensor, now: Tensor, weight: Tensor) -> Tensor:
    """KL(old, current) summed over the attention maps of a clip, averaged over selected clips.

    Args:
        old: Logarithm of the attention of the model before the task, shape [B, ...]; a clip may
            have several maps, for example one for each channel.
        now: The same of the current model, same shape.
        weight: Which clips to include, 0/1 or bool, shape [B].

    Returns:
        A scalar; zero if no clip is included.
    """
    weight = weight.to(now.dtype)
    distance = F.kl_div(now, old, reduction="none", log_target=True).flatten(1).sum(dim=1)
    return (distance * weight).sum() / weight.sum().clamp(min=1.0)
