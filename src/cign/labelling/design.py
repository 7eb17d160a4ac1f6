"""Greedy choice of clips that are informative together for ridge regression.

Adding a clip with features f to the Gram matrix G multiplies the determinant of G + r I by
1 + f^T A f with A = (G + r I)^-1 (matrix determinant lemma). So the clip with the largest sum of
log(1 + f^T A f) over the modalities reduces the volume of the confidence ellipsoids of both
solutions the most: sequential D-optimal design (Fedorov, *Theory of Optimal Experiments*, 1972,
section 2.5). Summing over modalities, and taking the pooled features of a clip for its rows of the
Gram matrix, is ours. f^T A f is the leverage; it depends on no label.

Legend: M candidates, W width of the features of a modality.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cign.open_set.scores import cholesky_factor, whiten


def whitened(features: Tensor, gram: Tensor, ridge: float) -> Tensor:
    """Vectors z with z^T z' = f^T A f', float64, shape [min(W, M), M].

    Args:
        features: Features f of the candidates, shape [M, W].
        gram: G, shape [W, W]; only its lower triangle is used.
        ridge: r.
    """
    vectors = whiten(cholesky_factor(gram, ridge), features)
    if len(features) < len(gram):  # a triangular matrix with the same products
        vectors = torch.linalg.qr(vectors, mode="r").R
    return vectors


def choose(vectors: Sequence[Tensor], number: int) -> list[tuple[int, float]]:
    """Choose candidates one after another, each as the most informative beside the earlier ones.

    After a candidate z with s = z^T z is chosen, A becomes A - A f f^T A / (1 + s), so that the
    products of all candidates become those of (I - z z^T / (1 + s))^(1/2) z' =
    z' - z (z^T z') / (t + t^2) with t = (1 + s)^(1/2). This takes 4 W M operations a choice instead
    of the W^2 of an update of A and W^2 M of new leverages.

    Args:
        vectors: Of each modality, see `whitened`; zeros where a candidate lacks it. Not changed.
        number: How many, at most M.

    Returns:
        For each choice the candidate and its gain, the sum of log(1 + f^T A f) when it was chosen.
        Of equal gains the first candidate is chosen.
    """
    left = [one.clone() for one in vectors]
    open_to_choice = torch.ones(left[0].shape[1], dtype=torch.bool, device=left[0].device)
    chosen: list[tuple[int, float]] = []
    for _ in range(number):
        gains = torch.stack([one.square().sum(dim=0).log1p() for one in left]).sum(dim=0)
        gains = torch.where(open_to_choice, gains, -torch.inf)
        best = int(gains.argmax())
        chosen.append((best, float(gains[best])))
        open_to_choice[best] = False
        for one in left:
            z = one[:, best].clone()
            t = (1.0 + z @ z).sqrt()
            one.addr_(z, z @ one, alpha=-1.0 / float(t + t.square()))
    return chosen
