"""Cross-entropy adjusted for the number of training clips of each class.

Legend: B clips, C classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def count_adjusted_loss(
    logits: Tensor, targets: Tensor, counts: Tensor, strength: float, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of logits shifted by the logarithm of class frequencies.

    Source: logit adjustment, Menon et al., ICLR 2021, equation 10: with logits f_i + tau log pi_i
    in the loss, f alone ranks classes as if they were equally frequent. In class-incremental
    learning, pi is the class frequency among the training clips and exemplars of the task.

    Args:
        logits: f, shape [B, C].
        targets: Multi-hot labels, bool or 0/1, shape [B, C]; several labels share the weight.
        counts: Number of training clips of each class, at least 1, shape [C].
        strength: tau; 0 is the plain cross-entropy.
        smoothing: Share of the target distributed over all classes (Szegedy et al. 2016).

    Returns:
        Mean over clips, a scalar.
    """
    shares = counts.to(logits) / counts.sum()
    smoothed = targets.to(logits.dtype)
    smoothed = smoothed / smoothed.sum(dim=-1, keepdim=True)
    smoothed = (1.0 - smoothing) * smoothed + smoothing / smoothed.shape[-1]
    return F.cross_entropy(logits + strength * shares.log(), smoothed)
