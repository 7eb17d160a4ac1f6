"""Similarity to several proxies per class, and the loss on it.

Source: Douillard et al. 2020, PODNet's local similarity classifier, section 3.2.
Legend: B clips, C classes, K proxies per class, E width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def local_similarity(features: Tensor, proxies: Tensor) -> Tensor:
    """Cosine similarities to the proxies of each class, averaged with their soft-max as weights.

    Args:
        features: Features, shape [B, E].
        proxies: Proxies, shape [C, K, E].

    Returns:
        Similarities, shape [B, C], in [-1, 1].
    """
    x, theta = F.normalize(features, dim=-1), F.normalize(proxies, dim=-1)
    cosines = torch.einsum("be,cke->bck", x, theta)
    return (cosines.softmax(dim=-1) * cosines).sum(dim=-1)


def proxy_nca_loss(
    similarities: Tensor, labels: Tensor, scale: Tensor | float, margin: float
) -> Tensor:
    """NCA loss with margin and hinge, mean over clips.

    [ -log( exp(scale (s_y - margin)) / sum over i other than y of exp(scale s_i) ) ]_+

    Args:
        similarities: s, shape [B, C].
        labels: y, int64, shape [B].
        scale: Learned scalar.
        margin: Margin by which the true class must exceed the others.

    Returns:
        A scalar; zero if there is only one class.
    """
    if similarities.shape[1] == 1:
        return similarities.sum() * 0.0
    true = similarities.gather(1, labels[:, None]).squeeze(1)
    own = F.one_hot(labels, similarities.shape[1]).bool()
    others = (scale * similarities).masked_fill(own, -torch.inf).logsumexp(dim=1)
    return F.relu(others - scale * (true - margin)).mean()
