"""Sums over the clips of each class and of all clips: counts, means and mean squared lengths.

The sums do not depend on the order of the clips, on batches or on tasks, up to rounding in float64.

Legend: B clips, C classes seen, D width of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cign.networks.token_ridge import with_columns, without_entry


class ClassSums(nn.Module):
    """Sums of (features, squared length, 1) over the clips of each class and over all clips.

    Args:
        width: D.
    """

    class_sums: Tensor
    total_sums: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("class_sums", torch.zeros(width + 2, 0, dtype=torch.float64))
        self.register_buffer("total_sums", torch.zeros(width + 2, dtype=torch.float64))

    def grow(self, num_new: int) -> None:
        """Add a column of zeros for each new class: no earlier clip had it as a label."""
        self.class_sums = with_columns(self.class_sums, num_new)

    def absorb(self, features: Tensor, has: Tensor, targets: Tensor) -> None:
        """Add clips.

        Args:
            features: Shape [B, D]; zeros for clips that do not count.
            has: Which clips count, bool, shape [B].
            targets: Multi-hot labels, shape [B, C].
        """
        x = features.to(self.class_sums)
        parts = [x, x.square().sum(dim=1, keepdim=True), has.to(x).unsqueeze(1)]
        rows = torch.cat(parts, dim=1)
        self.class_sums.addmm_(rows.T, targets.to(rows))
        self.total_sums += rows.sum(dim=0)

    def remove(self, index: int, *, from_total: bool) -> None:
        """Remove a class.

        Args:
            index: Index of the class.
            from_total: Whether its clips are subtracted from the sums over all clips, which is
                exact if no clip has another label.
        """
        if from_total:
            self.total_sums = self.total_sums - self.class_sums[:, index]
        self.class_sums = without_entry(self.class_sums, index)

    @property
    def sums(self) -> Tensor:
        """Sum of the features of each class, shape [D, C]."""
        return self.class_sums[: self.width]

    @property
    def counts(self) -> Tensor:
        """Number of clips of each class, float64, shape [C]."""
        return self.class_sums[-1]

    @property
    def total_count(self) -> Tensor:
        """Number of clips, float64."""
        return self.total_sums[-1]

    @property
    def means(self) -> Tensor:
        """Mean of each class, shape [D, C]; 0 without clips."""
        return self.sums / self.counts.clamp(min=1.0)

    @property
    def other_counts(self) -> Tensor:
        """Number of clips without each class, shape [C]."""
        return self.total_count - self.counts

    @property
    def other_means(self) -> Tensor:
        """Mean of the clips without each class, shape [D, C]; 0 if there are none."""
        others = self.total_sums[: self.width, None] - self.sums
        return others / self.other_counts.clamp(min=1.0)

    @property
    def mean(self) -> Tensor:
        """Mean of all clips, shape [D]; 0 without clips."""
        return self.total_sums[: self.width] / self.total_count.clamp(min=1.0)

    @property
    def square(self) -> Tensor:
        """Mean squared length of all clips."""
        return self.total_sums[-2] / self.total_count.clamp(min=1.0)

    @property
    def variance(self) -> Tensor:
        """Mean squared distance of all clips from their mean."""
        return (self.square - self.mean.square().sum()).clamp(min=0.0)
