"""Convolutional networks without batch normalisation: it is folded into the convolutions.

Legend: B inputs, C channels, H x W positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LINEAR, RELU, RELU6 = "linear", "relu", "relu6"


class Convolution(nn.Module):
    """A convolution with bias, then an activation.

    The input is padded as TensorFlow's ``same`` does for sizes that are a multiple of the stride:
    the output has the size of the input divided by the stride, and an odd row or column of padding
    comes last.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel, at least the stride.
        stride: Stride.
        depthwise: Whether each channel is filtered on its own.
        activation: ``linear``, ``relu`` or ``relu6``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        depthwise: bool = False,
        activation: str = LINEAR,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.activation = kernel, stride, activation
        self.groups = in_channels if depthwise else 1
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels // self.groups, kernel, kernel)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if not self.weight.is_meta:  # on that device torch would first import its compiler
            nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    @property
    def padding(self) -> tuple[int, int]:
        """Rows, and columns, of padding before and after the input."""
        total = self.kernel - self.stride
        return total // 2, total - total // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        before, after = self.padding
        if before != after:
            x, before = F.pad(x, (before, after, before, after)), 0
        x = F.conv2d(x, self.weight, self.bias, self.stride, before, groups=self.groups)
        if self.activation == LINEAR:
            return x
        return F.relu(x) if self.activation == RELU else F.relu6(x)


class Residual(nn.Module):
    """Layers whose output is added to their input.

    Args:
        layers: Layers that preserve the shape.
    """

    def __init__(self, *layers: Convolution) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to the same shape."""
        out: Tensor = x + self.layers(x)
        return out


def convolutions(network: nn.Module) -> list[Convolution]:
    """The convolutions of a network in the order in which they are applied."""
    return [module for module in network.modules() if isinstance(module, Convolution)]


def folded_state(
    build: Callable[[], nn.Module],
    state: Mapping[str, Tensor],
    layers: Sequence[tuple[str, str]],
    *,
    eps: float,
) -> dict[str, Tensor]:
    """The state of a network from that of one with batch normalisation in evaluation mode.

    Args:
        build: Builds the network.
        state: State of the other network.
        layers: Names in it of each convolution, without bias, and of the batch normalisation that
            follows, in the order of `convolutions`.
        eps: Added to the variances.

    Raises:
        KeyError: If the state lacks a tensor.
    """
    with torch.device("meta"):
        network = build()
    names = [name for name, layer in network.named_modules() if isinstance(layer, Convolution)]
    found: dict[str, Tensor] = {}
    for name, (convolution, norm) in zip(names, layers, strict=True):
        weight, bias = fold(state, convolution, norm, eps=eps)
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return found


def fold(
    state: Mapping[str, Tensor], convolution: str, norm: str, *, eps: float
) -> tuple[Tensor, Tensor]:
    """Fold a batch normalisation in evaluation mode into the convolution before it.

    Computed in float64 and rounded once, so that the result is the same on every machine.

    Args:
        state: State of a network.
        convolution: Name of a convolution without bias in it.
        norm: Name of the batch normalisation that follows.
        eps: Added to the variance.

    Returns:
        Weight, float32, shape [out, in, kernel, kernel], and bias, float32, shape [out].

    Raises:
        KeyError: If the state lacks a tensor.
    """
    mean, variance, scale, shift = (
        state[f"{norm}.{part}"].double()
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    scale = scale / torch.sqrt(variance + eps)
    weight = state[f"{convolution}.weight"].double() * scale.view(-1, 1, 1, 1)
    return weight.float(), (shift - mean * scale).float()
