"""Losses of prompt methods.

Legend: B clips, N selected keys, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def key_loss(query: Tensor, keys: Tensor) -> Tensor:
    """Pull the selected keys towards the queries that selected them.

    It is the second term of the objectives of L2P (Wang et al., CVPR 2022) and DualPrompt (Wang et
    al., ECCV 2022), with the cosine distance 1 - cos.

    Args:
        query: Queries, shape [B, D]; they should not need a gradient.
        keys: Keys selected for each clip, shape [B, N, D].

    Returns:
        The distance summed over the keys of a clip, averaged over clips, a scalar.
    """
    distance = 1.0 - F.cosine_similarity(query.unsqueeze(1), keys, dim=-1)  # [B, N]
    return distance.sum(dim=1).mean()
