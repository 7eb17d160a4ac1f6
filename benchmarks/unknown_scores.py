"""Scores for unknown clips that no model uses, for the comparison of `benchmarks/unknown.py`.

Higher for clips less similar to the training data.

Legend: B clips, C classes, W width of the features.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cign.methods.base import Method
from cign.open_set.evidence import Evidence
from cign.open_set.rule import KNOWN_SHARE, PARTS, Part, moments_of
from cign.open_set.scores import cholesky_factor, whiten
from cign.vocabulary import UNIMODAL

# Our choice: ridge of the within-class scatter, whose rank is below the number of features.
SCATTER_RIDGE = 1000.0
# In the order of the table.
NAMES = (
    "max_logit",
    "margin",
    "energy",
    "joint_energy",
    "disagreement",
    "leverage",
    "mahalanobis",
)


def energy(logits: Tensor) -> Tensor:
    """Free energy -log sum_i exp z_i (Liu et al. 2020); [B, C] to [B]."""
    return -logits.logsumexp(dim=-1)


def joint_energy(logits: Tensor) -> Tensor:
    """-sum_i log(1 + exp z_i), for several labels (Wang et al. 2021); [B, C] to [B]."""
    return -F.softplus(logits).sum(dim=-1)


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits of two modalities, normalised; [B, C] each to [B], 0..1."""
    p, q = (x / x.sum(dim=-1, keepdim=True).clamp_min(1e-12) for x in (first, second))
    mean = (p + q) / 2
    bits = torch.special.entr(mean) - (torch.special.entr(p) + torch.special.entr(q)) / 2
    value: Tensor = bits.sum(dim=-1) / torch.log(bits.new_tensor(2.0))
    return value.clamp(0.0, 1.0)


class Mahalanobis:
    """Squared distances to class means under the covariance within classes (Lee et al. 2018).

    Means are Q_i / n_i and the scatter is G - sum_i n_i mean_i mean_i^T, computed from the sums of
    a ridge solution. Each clip must have one label.

    Args:
        gram: G, shape [W, W].
        cross: Q, shape [W, C].
        counts: n_i, number of clips of each class, shape [C].
        ridge: Added to the diagonal of the scatter.
    """

    def __init__(self, gram: Tensor, cross: Tensor, counts: Tensor, ridge: float) -> None:
        counts = counts.to(gram.dtype).clamp_min(1.0)
        means = cross / counts
        scatter = gram - (means * counts) @ means.T
        self.factor = cholesky_factor(scatter, ridge).float()
        self.means = whiten(self.factor, means.T.float()).T  # [C, W]

    def __call__(self, features: Tensor) -> Tensor:
        """Squared distance of features [B, W] to each class, shape [B, C]."""
        return torch.cdist(whiten(self.factor, features).T, self.means).square()


def parts_of_method(method: Method) -> dict[str, Part]:
    """Each score of `NAMES` as a function of a batch's evidence and a modality.

    Args:
        method: A method that stores sums over clips for each class, with one label per clip.
    """
    distances = {
        name: Mahalanobis(method.gram(name), method.cross(name), method.class_clips, SCATTER_RIDGE)
        for name in UNIMODAL
    }

    def distance(evidence: Evidence, modality: str) -> Tensor:
        names = UNIMODAL if modality == "audio_visual" else (modality,)
        apart = sum(distances[name](evidence.output.features[name]) for name in names)
        return apart.amin(dim=-1).clamp_min(1e-12).log()

    parts = PARTS | {
        "energy": lambda e, r: energy(e.logits[r]),
        "joint_energy": lambda e, r: joint_energy(e.logits[r]),
        "disagreement": lambda e, r: disagreement(
            e.probabilities["audio"], e.probabilities["visual"]
        ),
        "mahalanobis": distance,
    }
    return {name: parts[name] for name in NAMES}


def standardised(
    part: Part, validation: list[Evidence], tested: list[Evidence], modality: str
) -> tuple[np.ndarray, float]:
    """A score as a rule would give it: standardised on validation clips, through a sigmoid.

    Returns:
        The values of the tested clips, shape [N], and the threshold.
    """
    mean, deviation = moments_of(part, validation, modality)

    def values(batches: list[Evidence]) -> np.ndarray:
        found = torch.cat([part(one, modality).float() for one in batches])
        return torch.sigmoid((found - mean) / deviation).numpy()

    return values(tested), float(np.quantile(values(validation), KNOWN_SHARE))
