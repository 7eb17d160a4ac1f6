"""Backbones: frames and waveform in, tokens out, whatever the network inside.

Legend: B clips, K frames a clip, S stored frame size, P input size, L samples, N tokens, D width.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.data.media import PRESETS, MediaSpec
from cign.errors import InputError
from cign.models.spectrogram import LogSpectrogram

if TYPE_CHECKING:
    from cign.models.blocks import FrozenBlocks

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module, ABC):
    """Turns decoded clips into tokens.

    Attributes:
        name: What it is called on the command line and in a store.
        spec: The decoding it needs.
        input_px: Side of the square its visual part takes.
        audio_dim: Width of an audio token.
        visual_dim: Width of a visual token.
        audio_grid: Audio tokens of a clip as (frequency, time).
        visual_grid: Visual tokens of a frame as (rows, columns).
    """

    name: str
    spec: MediaSpec
    input_px: int
    audio_dim: int
    visual_dim: int
    audio_grid: tuple[int, int]
    visual_grid: tuple[int, int]

    @property
    def num_audio_tokens(self) -> int:
        """Audio tokens of a clip."""
        return self.audio_grid[0] * self.audio_grid[1]

    @property
    def num_visual_tokens(self) -> int:
        """Visual tokens of a clip: those of its frames, one after another."""
        return self.spec.num_frames * self.visual_grid[0] * self.visual_grid[1]

    @abstractmethod
    def audio_tokens(self, audio: Tensor) -> Tensor:
        """Encode sound.

        Args:
            audio: int16, or floating point in -1..1, shape [B, L].

        Returns:
            Shape [B, num_audio_tokens, audio_dim]; time runs fastest within a frequency row.
        """

    @abstractmethod
    def visual_tokens(self, frames: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            frames: uint8 RGB, shape [B, K, S, S, 3].

        Returns:
            Shape [B, K * rows * columns, visual_dim], frame by frame, row by row.
        """

    def audio_stem(self, audio: Tensor) -> Tensor:
        """The audio tokens that enter `token_blocks`; shapes as in `audio_tokens`."""
        raise NotImplementedError

    def visual_stem(self, frames: Tensor) -> Tensor:
        """The visual tokens that enter `token_blocks`; shapes as in `visual_tokens`."""
        raise NotImplementedError

    def token_blocks(self) -> FrozenBlocks | None:
        """The transformers between stem and tokens, sharing weights; None where there are none."""
        return None

    @property
    def fingerprint(self) -> str:
        """A hash of the weights and of what goes in; tokens of two backbones never mix."""
        digest = hashlib.sha256(f"{self.name} {self.spec} {self.input_px}".encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            # Bytes, not numbers: a view works for every dtype, bf16 included.
            data = value.detach().cpu().contiguous().reshape(-1)
            digest.update(data.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def crop_and_flip(frames: Tensor, size_px: int) -> Tensor:
    """Training augmentation of the release: one random crop and flip for each clip.

    Args:
        frames: Shape [B, K, 3, S, S].
        size_px: P <= S.

    Returns:
        Shape [B, K, 3, P, P]; the frames of a clip share their crop and flip.
    """
    batch, _, _, size, _ = frames.shape
    offsets = torch.randint(0, size - size_px + 1, (batch, 2))
    flips = torch.rand(batch) < 0.5
    out = []
    for clip, (y, x), flip in zip(frames, offsets.tolist(), flips.tolist(), strict=True):
        crop = clip[..., y : y + size_px, x : x + size_px]
        out.append(crop.flip(-1) if flip else crop)
    return torch.stack(out)


def to_input(frames: Tensor, size_px: int, *, train: bool) -> Tensor:
    """uint8 frames [B, K, S, S, 3] as floats in 0..1, [B * K, 3, P, P].

    In training a random crop and flip, else resized [release]; stored frames are squares, so a
    crop is of the squashed picture (ours).
    """
    x = frames.permute(0, 1, 4, 2, 3)
    if train:
        x = crop_and_flip(x, size_px)
    x = x.flatten(0, 1).to(torch.float32) / 255.0
    if x.shape[-1] != size_px:
        x = F.interpolate(
            x, size=(size_px, size_px), mode="bilinear", align_corners=False, antialias=True
        )
    return x.contiguous(memory_format=torch.channels_last)


class ResNetPair(Backbone):
    """ResNet-18 for vision and ResNet-18 with one input channel for sound. [release].

    224 px frames give 7 x 7 visual tokens of width 512; the log spectrogram of 3 s at 22.05 kHz
    (257 x 276) gives 9 x 9 audio tokens, which `cign` max-pools to one as the release does.

    Args:
        name: What to call it.
        visual: A transformers ResNet over three channels.
        audio: A transformers ResNet over one channel.
        spec: Decoding.
        input_px: Side of the visual input.
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
        side = _downsampled(input_px)
        self.visual_grid = (side, side)
        self.audio_grid = (
            _downsampled(segment // 2 + 1),
            _downsampled((samples - segment) // hop + 1),
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


def _downsampled(size: int) -> int:
    """Side of a ResNet's last map: five halvings, each rounded up."""
    for _ in range(5):
        size = (size + 1) // 2
    return size


def resnet_pair(visual_weights: str | Path | None, *, seed: int = 0) -> ResNetPair:
    """Build the release's pair.

    Args:
        visual_weights: Local folder or hub name of a ResNet in transformers' format; None draws
            random weights. The audio part is always drawn [release].
        seed: Of the random weights.

    Raises:
        InputError: If the weights cannot be had.
    """
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
                visual = ResNetModel.from_pretrained(str(visual_weights))
            except (OSError, ValueError) as error:
                raise InputError(
                    f"backbone {str(visual_weights)!r} cannot be loaded "
                    f"({str(error).splitlines()[0]}): give a local folder with its weights, "
                    "or use --backbone resnet18-random or small"
                ) from None
    name = "resnet18-random" if visual_weights is None else "resnet18"
    return ResNetPair(name, cast(nn.Module, visual), cast(nn.Module, audio))


HUB_RESNET = "microsoft/resnet-18"
BACKBONES = ("small", "small-random", "small-stem", "resnet18", "resnet18-random")


def load_backbone(name: str, *, weights: bool = True) -> Backbone:
    """Load a backbone by name or from a local folder.

    Args:
        name: ``small`` (shipped; trained on procedural clips), ``small-random``, ``resnet18``
            (visual weights from the hub), ``resnet18-random``, or a folder with a ResNet in
            transformers' format. With ``-stem`` behind the name of one that has transformer
            blocks: the tokens that enter them, for prompt methods.
        weights: False builds the network alone, for weights that are loaded afterwards.

    Raises:
        InputError: If there is no such backbone.
    """
    if name in ("small", "small-random"):
        from cign.models.small import SmallPair

        backbone: Backbone = SmallPair(name, weights=weights)
    elif name.endswith("-stem") and not Path(name).is_dir():
        from cign.models.blocks import StemBackbone

        backbone = StemBackbone(load_backbone(name.removesuffix("-stem"), weights=weights))
    elif name == "resnet18":
        backbone = resnet_pair(HUB_RESNET if weights else None)
        backbone.name = name
    elif name == "resnet18-random":
        backbone = resnet_pair(None)
    elif (Path(name) / "config.json").is_file():
        backbone = resnet_pair(Path(name))
        backbone.name = Path(name).resolve().name
    else:
        raise InputError(
            f"unknown backbone {name!r}: use one of {', '.join(BACKBONES)}, "
            "or a local folder with config.json and weights"
        )
    return backbone.eval()
