"""Losses of prompt methods.

Legend: B clips, N chosen keys, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def key_loss(query: Tensor, keys: Tensor) -> Tensor:
    """Pull the chosen keys towards the queries that chose them.

    The second term of the objectives of L2P (Wang et al., CVPR 2022) and DualPrompt (Wang et al.,
    ECCV 2022), with the cosine distance 1 - cos.

    Args:
        query: Shape [B, D]; no gradient is expected to flow into it.
        keys: Those chosen for each clip, shape [B, N, D].

    Returns:
        The distance summed over a clip's keys, mean over clips, a scalar.
    """
    distance = 1.0 - F.cosine_similarity(query.unsqueeze(1), keys, dim=-1)  # [B, N]
    return distance.sum(dim=1).mean()
