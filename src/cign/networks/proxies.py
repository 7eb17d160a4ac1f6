"""A head with several proxies a class that grows task by task.

Source: Douillard et al. 2020, PODNet's local similarity classifier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cign.losses.proxies import local_similarity


class ProxyHead(nn.Module):
    """Similarities of features to classes of K proxies each.

    Args:
        in_features: E.
        num_proxies: K.
        scale: What the learned scale starts from, above 0.
    """

    def __init__(self, in_features: int, num_proxies: int, scale: float) -> None:
        super().__init__()
        self.in_features = in_features
        self.num_proxies = num_proxies
        self.scale = nn.Parameter(torch.tensor(scale))
        self.least_scale = min(1.0, scale)
        self.chunks = nn.ParameterList()

    def grow(self, num_new: int) -> None:
        """Add the proxies of ``num_new`` classes, of about unit length and drawn at random."""
        proxies = torch.randn(num_new, self.num_proxies, self.in_features)
        self.chunks.append(nn.Parameter(proxies / math.sqrt(self.in_features)))

    @torch.no_grad()
    def imprint(self, features: Sequence[NDArray[np.float32]], seed: int) -> None:
        """Put the last task's proxies on the centres of their class's clusters.

        Source: section 3.2 of the paper, which takes k-means for this. That the clusters are of
        unit vectors, and that a class of fewer clips than proxies repeats its centres with a
        little noise (equal proxies would stay equal), is ours.

        Args:
            features: For each class of the last task its clips' features, [n, E]; a class without
                clips keeps its random proxies.
            seed: Of the k-means.
        """
        chunk = self.chunks[-1]
        for proxies, x in zip(chunk, features, strict=True):
            if len(x) == 0:
                continue
            centres = torch.from_numpy(cluster_centres(x, self.num_proxies, seed)).to(proxies)
            repeated = centres[torch.arange(self.num_proxies, device=centres.device) % len(centres)]
            noise = torch.randn_like(repeated) * (0.01 / math.sqrt(self.in_features))
            noise[: len(centres)] = 0.0
            proxies.copy_(repeated + noise)

    @torch.no_grad()
    def bound_scale(self) -> None:
        """Bring a scale that fell too low back to its least value, 1 or what it starts from.

        Ours. Below zero, the margin counts for the wrong classes: the loss is zero whatever the
        similarities, and where classes are not apart yet its gradient leads there.
        """
        self.scale.clamp_(min=self.least_scale)

    def proxies(self) -> Tensor:
        """All proxies, shape [C, K, E]."""
        return torch.cat(list(self.chunks))

    def forward(self, features: Tensor) -> Tensor:
        """Similarities [B, C] of features [B, E]; the scale is not applied."""
        return local_similarity(features, self.proxies())


def cluster_centres(x: NDArray[np.float32], num_centres: int, seed: int) -> NDArray[np.float32]:
    """Centres of k-means over unit vectors, themselves of unit length.

    Args:
        x: Shape [n, E].
        num_centres: Wanted; fewer come back if there are fewer different vectors.
        seed: Of its start.

    Returns:
        Shape [k, E], k <= ``num_centres``.
    """
    from sklearn.cluster import KMeans  # heavy: only where it is used

    def unit(a: NDArray[Any]) -> NDArray[Any]:
        out: NDArray[Any] = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
        return out

    x = unit(x.astype(np.float64))
    k = min(num_centres, len(np.unique(x, axis=0)))
    centres = KMeans(k, n_init=1, random_state=seed % 2**32).fit(x).cluster_centers_
    return unit(centres).astype(np.float32)
