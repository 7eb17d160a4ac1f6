"""Parameters that grow with the classes by one chunk per task."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ClassTokens(nn.Module):
    """Learnable class tokens c_i, one set for both modalities.

    Source: paper and release. Tokens are initialised with zeros [release]; the different rows of
    the token head make them differ in training.

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
        """Freeze all tokens but those of the last task."""
        for chunk in list(self.chunks)[:-1]:
            chunk.requires_grad_(False)

    def forward(self) -> Tensor:
        """All tokens, shape [C, D]."""
        return torch.cat(list(self.chunks))


class GrowingLinear(nn.Module):
    """A linear layer whose outputs are added task by task.

    New rows are initialised like those of torch's linear layer, whose bound depends only on the
    input width: the initial weights of a class do not depend on the number of classes.

    Args:
        in_features: D.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()

    def grow(self, num_new: int) -> None:
        """Add ``num_new`` outputs."""
        bound = 1.0 / math.sqrt(self.in_features)
        self.weights.append(
            nn.Parameter(torch.empty(num_new, self.in_features).uniform_(-bound, bound))
        )
        self.biases.append(nn.Parameter(torch.empty(num_new).uniform_(-bound, bound)))

    def freeze_old(self) -> None:
        """Freeze all rows but those of the last task."""
        for chunk in [*list(self.weights)[:-1], *list(self.biases)[:-1]]:
            chunk.requires_grad_(False)

    def newest(self, x: Tensor) -> Tensor:
        """Map [..., D] to the outputs of the last task only."""
        return nn.functional.linear(x, self.weights[-1], self.biases[-1])

    def weight(self) -> Tensor:
        """All weights, shape [C, D]."""
        return torch.cat(list(self.weights))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., C]."""
        return nn.functional.linear(x, self.weight(), torch.cat(list(self.biases)))


class TokenMixing(nn.Module):
    """An MLP across the token axis, C -> H -> C with GELU, that grows with the classes.

    Source: release, for a fixed number of classes. The rule for growing is ours: learned weights
    are preserved, new input weights are zero, and new outputs are initialised like torch's linear
    layer. So growing does not change the outputs of old classes.

    Args:
        hidden: H; 256 in the release.
    """

    def __init__(self, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = hidden
        bound = 1.0 / math.sqrt(hidden)
        self.bias = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.inputs = nn.ParameterList()  # [C_t, H] for each task
        self.outputs = GrowingLinear(hidden)

    def grow(self, num_new: int) -> None:
        """Add inputs and outputs for ``num_new`` classes."""
        weight = torch.zeros(num_new, self.hidden)
        if len(self.inputs) == 0:
            bound = 1.0 / math.sqrt(num_new)
            weight.uniform_(-bound, bound)
        self.inputs.append(nn.Parameter(weight))
        self.outputs.grow(num_new)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, C, D] to tokens [B, C, D]; the D dimensions share the weights."""
        inner = tokens.transpose(1, 2) @ torch.cat(list(self.inputs)) + self.bias  # [B, D, H]
        mixed: Tensor = self.outputs(nn.functional.gelu(inner)).transpose(1, 2)
        return mixed
