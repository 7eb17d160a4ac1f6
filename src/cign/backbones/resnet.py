"""The backbone of the release: a pair of ResNet-18.

Legend: B clips, K frames per clip, P input size, F frequencies, T spectrogram frames, D width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from cign.backbones.base import Backbone, to_input
from cign.backbones.hub.loading import is_unreachable, refuse_absent
from cign.backbones.preprocessing.spectrogram import LogSpectrogram
from cign.backbones.registered import register_backbone
from cign.data.media.decode import PRESETS, MediaSpec
from cign.errors import InputError

HUB_RESNET = "microsoft/resnet-18"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResNetPair(Backbone):
    """A visual ResNet-18 and an audio ResNet-18 with one input channel [release].

    224 px frames give 7 x 7 visual tokens of width 512; the log spectrogram of 3 s at 22.05 kHz
    (257 x 276) gives 9 x 9 audio tokens, which `cign` max-pools to one as the release does.

    Args:
        name: Name of the backbone.
        visual: ResNet of transformers with three input channels.
        audio: ResNet of transformers with one input channel.
        spec: Decoding.
        input_px: Side of the visual input in pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        visual: nn.Module,
        audio: nn.Module,
        spec: MediaSpec = PRESETS["release"],
        input_px: int = 224,
    ) -> None:
        super().__init__()
        self.name = name
        self.spec = spec
        self.input_px = input_px
        self.visual = visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.audio = audio.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.spectrogram = LogSpectrogram(rate_hz=spec.rate_hz)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.visual_dim = int(visual.config.hidden_sizes[-1])  # type: ignore[union-attr,index]
        self.audio_dim = int(audio.config.hidden_sizes[-1])  # type: ignore[union-attr,index]
        samples = round(spec.rate_hz * spec.window_s)
        segment, hop = self.spectrogram.power.segment, self.spectrogram.power.hop
        side = downsampled(input_px)
        self.visual_grid = (side, side)
        self.audio_grid = (
            downsampled(segment // 2 + 1),
            downsampled((samples - segment) // hop + 1),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Backbone`."""
        random = "audio encoder has" if self.name == "resnet18" else "encoders have"
        return (
            f"backbone {self.name}: its {random} random weights, whose tokens mean little until "
            "they are trained: use --regime end-to-end",
        )

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """See `Backbone`."""
        x = self.spectrogram(audio).unsqueeze(1)  # [B, 1, F, T]
        out = self.audio(pixel_values=x).last_hidden_state  # [B, D, F / 32, T / 32]
        return out.flatten(2).transpose(1, 2)

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """See `Backbone`."""
        x = to_input(frames, self.input_px, train=self.training)
        out = self.visual(pixel_values=(x - self.mean) / self.std).last_hidden_state
        tokens = out.flatten(2).transpose(1, 2)  # [B * K, rows * columns, D]
        return tokens.unflatten(0, (frames.shape[0], -1)).flatten(1, 2)


def downsampled(size: int) -> int:
    """Side of the last map of a ResNet: size halved five times, each time rounded up."""
    for _ in range(5):
        size = (size + 1) // 2
    return size


def resnet_pair(visual_weights: str | Path | None, *, seed: int = 0) -> ResNetPair:
    """Build the pair of the release.

    Args:
        visual_weights: Local folder or hub name of a ResNet in transformers' format; None uses
            random weights. The audio encoder always has random weights [release].
        seed: Seed of the random weights.

    Raises:
        InputError: If the weights cannot be loaded.
    """
    if visual_weights is not None:
        refuse_absent(str(visual_weights))
    from transformers import ResNetConfig, ResNetModel

    shape: dict[str, Any] = {
        "depths": [2, 2, 2, 2],
        "hidden_sizes": [64, 128, 256, 512],
        "layer_type": "basic",
        "embedding_size": 64,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        audio = ResNetModel(ResNetConfig(num_channels=1, **shape))
        if visual_weights is None:
            visual = ResNetModel(ResNetConfig(**shape))
        else:
            try:
                loaded: Any = ResNetModel.from_pretrained(
                    str(visual_weights),
                    output_loading_info=True,
                    local_files_only=is_unreachable(str(visual_weights)),
                )
                visual, found = loaded
            except (OSError, ValueError) as error:
                raise InputError(
                    "missing-weights",
                    f"backbone {str(visual_weights)!r} cannot be loaded "
                    f"({str(error).splitlines()[0]}): give a local folder with its weights, "
                    "or use --backbone resnet18-random or small",
                ) from None
            missing = sorted(found["missing_keys"])
            if missing:
                raise InputError(
                    "missing-weights",
                    f"backbone {str(visual_weights)!r} lacks {len(missing)} weights, the first "
                    f"{missing[0]!r}: give a folder with all of them",
                )
    name = "resnet18-random" if visual_weights is None else "resnet18"
    return ResNetPair(name, cast(nn.Module, visual), cast(nn.Module, audio))


@register_backbone("resnet18")
def _resnet(*, weights: bool) -> Backbone:
    return resnet_pair(HUB_RESNET if weights else None)


@register_backbone("resnet18-random")
def _resnet_random(*, weights: bool) -> Backbone:
    return resnet_pair(None)
