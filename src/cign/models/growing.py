"""Parameters that grow with the classes, one chunk a task: heads never know what is to come."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ClassTokens(nn.Module):
    """Learnable class tokens c_i, one set for both modalities.

    Source: paper and release. Tokens start at zero [release]; the rows of the token head, which
    differ, tell them apart.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.chunks = nn.ParameterList()

    def grow(self, num_new: int) -> None:
        """Add the tokens of ``num_new`` classes."""
        self.chunks.append(nn.Parameter(torch.zeros(num_new, self.width)))

    def freeze_old(self) -> None:
        """Stop learning all tokens but those of the last task."""
        for chunk in list(self.chunks)[:-1]:
            chunk.requires_grad_(False)

    def forward(self) -> Tensor:
        """All tokens, shape [C, D]."""
        return torch.cat(list(self.chunks))


class GrowingLinear(nn.Module):
    """A linear layer whose outputs are added task by task.

    New rows are drawn as torch's linear layer draws them, whose bound depends on the input width
    alone: what a class starts from does not depend on how many classes there are.

    Args:
        in_features: D.
        bias: Whether there is a bias.
    """

    def __init__(self, in_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.has_bias = bias
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()

    @property
    def out_features(self) -> int:
        """Number of outputs now, C."""
        return sum(weight.shape[0] for weight in self.weights)

    def grow(self, num_new: int) -> None:
        """Add ``num_new`` outputs."""
        bound = 1.0 / math.sqrt(self.in_features)
        self.weights.append(
            nn.Parameter(torch.empty(num_new, self.in_features).uniform_(-bound, bound))
        )
        if self.has_bias:
            self.biases.append(nn.Parameter(torch.empty(num_new).uniform_(-bound, bound)))

    def freeze_old(self) -> None:
        """Stop learning all rows but those of the last task."""
        for chunk in [*list(self.weights)[:-1], *list(self.biases)[:-1]]:
            chunk.requires_grad_(False)

    def newest(self, x: Tensor) -> Tensor:
        """Map [..., D] to the outputs of the last task alone."""
        bias = self.biases[-1] if self.has_bias else None
        return nn.functional.linear(x, self.weights[-1], bias)

    def weight(self) -> Tensor:
        """All weights, shape [C, D]."""
        return torch.cat(list(self.weights))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., C]."""
        bias = torch.cat(list(self.biases)) if self.has_bias else None
        return nn.functional.linear(x, self.weight(), bias)
