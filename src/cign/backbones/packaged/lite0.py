"""EfficientNet-Lite0, a visual encoder trained on the labels of ImageNet.

The layout of EfficientNet-B0 (Tan and Le 2019, arXiv 1905.11946, table 1) without
squeeze-and-excitation and with ReLU6 (TensorFlow's EfficientNet-Lite, 2020).

Legend: B clips, K frames per clip, P input size, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cign.backbones.hub.loading import Source
from cign.backbones.hub.visual import ImageInput, VisualEncoder
from cign.backbones.packaged.accelerated import PRECISION, Accelerated
from cign.backbones.packaged.convolutions import RELU6, Convolution, Residual, folded_state

INPUT_PX, STEM_WIDTH, DIM = 224, 32, 1280
REDUCTION = 32  # of the sides of a frame
_EPS = 1e-3  # of its batch normalisation
# Expansion, kernel, stride of the first block, width, number of blocks.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def _blocks() -> Iterator[tuple[int, int, int, int, int]]:
    """Width of the input, expansion, kernel, stride and width of the output of each block."""
    width = STEM_WIDTH
    for expansion, kernel, first_stride, out_width, number in _STAGES:
        for i in range(number):
            yield width, expansion, kernel, first_stride if i == 0 else 1, out_width
            width = out_width


def _inverted_bottleneck(
    width: int, expansion: int, kernel: int, stride: int, out_width: int
) -> nn.Module:
    """Expand the channels, filter each one, and project to fewer."""
    wide = width * expansion
    layers = [
        Convolution(wide, wide, kernel, stride=stride, depthwise=True, activation=RELU6),
        Convolution(wide, out_width, 1),
    ]
    if expansion > 1:
        layers.insert(0, Convolution(width, wide, 1, activation=RELU6))
    return Residual(*layers) if stride == 1 and width == out_width else nn.Sequential(*layers)


def lite0_network() -> nn.Sequential:
    """The convolutions up to the map that the classifier averages, with random weights.

    It maps normalised images [B, 3, 224, 224] to [B, 1280, 7, 7].
    """
    with torch.random.fork_rng():
        return nn.Sequential(
            Convolution(3, STEM_WIDTH, 3, stride=2, activation=RELU6),
            *(_inverted_bottleneck(*block) for block in _blocks()),
            Convolution(_STAGES[-1][3], DIM, 1, activation=RELU6),
        )


def lite0_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `lite0_network` from the published weights.

    Raises:
        KeyError: If a tensor is missing.
    """
    pairs = [("_conv_stem", "_bn0")]
    for i, (_, expansion, *_) in enumerate(_blocks()):
        block = f"_blocks.{i}"
        if expansion > 1:
            pairs.append((f"{block}._expand_conv", f"{block}._bn0"))
        pairs.append((f"{block}._depthwise_conv", f"{block}._bn1"))
        pairs.append((f"{block}._project_conv", f"{block}._bn2"))
    pairs.append(("_conv_head", "_bn1"))
    return folded_state(lite0_network, state, pairs, eps=_EPS)


class Lite0(VisualEncoder):
    """EfficientNet-Lite0 as an encoder: 7 x 7 tokens of width 1,280 for each frame.

    Frames of 224 pixels are normalised as (x - 127) / 128, x in 0..255.

    Args:
        source: Source of the weights.
    """

    def __init__(self, source: Source) -> None:
        how = ImageInput(
            mean=(127 / 255,) * 3, std=(128 / 255,) * 3, resize_px=INPUT_PX, input_px=INPUT_PX
        )
        side = INPUT_PX // REDUCTION
        network = Accelerated(lite0_network())
        super().__init__(source, network, how, dim=DIM, grid=(side, side))

    @property
    def settings(self) -> dict[str, Any]:
        """See `VisualEncoder`; with the precision of the weights and products."""
        return {**super().settings, "precision": PRECISION}

    def tokens(self, x: Tensor) -> Tensor:
        """See `VisualEncoder`."""
        out = self.network(x.flatten(0, 1))  # [B * K, D, rows, columns]
        return out.flatten(2).transpose(1, 2).unflatten(0, (x.shape[0], -1)).flatten(1, 2)
