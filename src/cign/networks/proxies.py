"""A head with several proxies per class that grows task by task.

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
    """Similarities of features to classes with K proxies each.

    Args:
        in_features: E.
        num_proxies: K.
        scale: Initial value of the learned scale, above 0.
    """

    def __init__(self, in_features: int, num_proxies: int, scale: float) -> None:
        super().__init__()
        self.in_features = in_features
        self.num_proxies = num_proxies
        self.scale = nn.Parameter(torch.tensor(scale))
        self.least_scale = min(1.0, scale)
        self.chunks = nn.ParameterList()

    def grow(self, num_new: int) -> None:
        """Add random proxies of about unit length for ``num_new`` classes."""
        proxies = torch.randn(num_new, self.num_proxies, self.in_features)
        self.chunks.append(nn.Parameter(proxies / math.sqrt(self.in_features)))

    @torch.no_grad()
    def imprint(self, features: Sequence[NDArray[np.float32]], seed: int) -> None:
        """Set the proxies of the last task to the cluster centres of their class.

        Source: section 3.2 of the paper, which uses k-means. Two details are ours: the clusters are
        of unit vectors, and a class with fewer clips than proxies repeats its centres with a little
        noise (equal proxies would stay equal).

        Args:
            features: Features of the clips of each class of the last task, [n, E]; the proxies of a
                class without clips stay random.
            seed: Seed of the k-means.
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
        """Clamp the scale to its minimum: 1, or its initial value if that is lower.

        This is ours. With a negative scale the margin favours the wrong classes: the loss is zero
        for any similarities, and while classes are not separated its gradient leads there.
        """
        self.scale.clamp_(min=self.least_scale)

    def proxies(self) -> Tensor:
        """All proxies, shape [C, K, E]."""
        return torch.cat(list(self.chunks))

    def forward(self, features: Tensor) -> Tensor:
        """Similarities [B, C] of features [B, E], without the scale."""
        return local_similarity(features, self.proxies())


def cluster_centres(x: NDArray[np.float32], num_centres: int, seed: int) -> NDArray[np.float32]:
    """Centres of k-means over unit vectors, themselves of unit length.

    Args:
        x: Shape [n, E].
        num_centres: Maximum number of centres; the result has fewer if there are fewer distinct
            vectors.
        seed: Seed of the initialisation.

    Returns:
        Centres, shape [k, E], k <= ``num_centres``.
    """
    from sklearn.cluster import KMeans  # slow import: only where it is needed

    def unit(a: NDArray[Any]) -> NDArray[Any]:
        out: NDArray[Any] = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
        return out

    x = unit(x.astype(np.float64))
    k = min(num_centres, len(np.unique(x, axis=0)))
    centres = KMeans(k, n_init=1, random_state=seed % 2**32).fit(x).cluster_centers_
    return unit(centres).astype(np.float32)
