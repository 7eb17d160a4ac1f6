"""Visual encoders of a backbone: ViT, DINOv2, DINOv3, VideoMAE or ResNet.

Legend: B clips, K frames per clip, S stored frame size, P input size, M time steps, N tokens,
D width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.backbones.base import crop_and_flip
from cign.backbones.hub.loading import Source, load_network
from cign.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD, downsampled
from cign.errors import InputError

# The release crops 224 of 246 pixels in training [release].
CROP_MARGIN = 246 / 224
HALF = (0.5, 0.5, 0.5)
BICUBIC = 3  # constant of Pillow
# Published mean and standard deviation, for folders without them.
_PUBLISHED = {"vit": (HALF, HALF)}


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """How stored frames are converted to the input of the network.

    Attributes:
        mean: Mean of red, green and blue in [0, 1].
        std: Standard deviation of the same.
        resize_px: Side to which stored squares are resized first.
        input_px: P, side of the centre crop.
        bicubic: Whether to resize bicubically instead of bilinearly.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize_px: int = 224
    input_px: int = 224
    bicubic: bool = False


def read_image_input(source: Source) -> ImageInput:
    """Read ``preprocessor_config.json``, with published values for missing settings.

    Stored frames are squares, so a processor that preserves the aspect ratio and then crops also
    resizes and crops a square. Networks with fixed positional embeddings get their own input size.

    Raises:
        InputError: If the network does not take square images.
    """
    settings = source.preprocessing or {}
    fixed_px = None
    if source.kind in ("vit", "videomae"):
        fixed_px = _side(source.config.get("image_size", 224), source)
    size_px = _side(settings.get("size", min(224, source.config.get("image_size", 224))), source)
    resize_px = input_px = size_px
    if settings.get("do_center_crop") and "crop_size" in settings:
        input_px = _side(settings["crop_size"], source)
    elif "crop_pct" in settings and size_px < 384:
        resize_px = int(size_px / settings["crop_pct"])  # as in a ConvNeXt processor
    elif source.preprocessing is None and source.kind == "dinov2":
        resize_px = round(input_px * 256 / 224)
    if settings.get("do_resize") is False:
        resize_px = input_px
    if fixed_px is not None and fixed_px != input_px:
        resize_px = input_px = fixed_px
    mean, std = _PUBLISHED.get(source.kind, (IMAGENET_MEAN, IMAGENET_STD))
    if settings.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return ImageInput(
        mean=tuple(settings.get("image_mean") or mean),
        std=tuple(settings.get("image_std") or std),
        resize_px=max(resize_px, input_px),
        input_px=input_px,
        bicubic=settings.get("resample", 2) == BICUBIC,
    )


def _side(size: Any, source: Source) -> int:
    """The side of a square, from any of the formats of processors."""
    if isinstance(size, Mapping):
        sides = [int(value) for value in size.values() if value]
    elif isinstance(size, (list, tuple)):
        sides = [int(value) for value in size]
    else:
        sides = [int(size)]
    if not sides or min(sides) != max(sides):
        raise InputError(
            "unsupported",
            f"backbone {source.name!r} takes images of {sides} pixels: use one that takes squares",
        )
    return sides[0]


class VisualEncoder(nn.Module):
    """Encodes frames as tokens, without special tokens.

    Args:
        source: Source of the network.
        network: The network.
        how: Settings of its input.
        dim: D.
        grid: Tokens of a time step as (rows, columns).
        frame_px: Side of the stored frames; ``how.resize_px`` by default.
        num_frames: Number of frames the network takes; None accepts any.
        frames_per_moment: Frames of a time step.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        source: Source,
        network: nn.Module,
        how: ImageInput,
        *,
        dim: int,
        grid: tuple[int, int],
        frame_px: int | None = None,
        num_frames: int | None = None,
        frames_per_moment: int = 1,
    ) -> None:
        super().__init__()
        self.source, self.network, self.how = source, network, how
        self.dim, self.grid = dim, grid
        self.frame_px = frame_px or how.resize_px
        self.num_frames, self.frames_per_moment = num_frames, frames_per_moment
        self.register_buffer("mean", torch.tensor(how.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(how.std).view(3, 1, 1))

    @abstractmethod
    def tokens(self, x: Tensor) -> Tensor:
        """Map the output of `to_input`, [B, K, 3, P, P], to tokens [B, M * rows * columns, D]."""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings other than weights that determine the tokens."""
        return {"kind": self.source.kind, **asdict(self.how)}

    def num_moments(self, num_frames: int) -> int:
        """Number of time steps of the tokens: frames, or groups of frames."""
        return num_frames // self.frames_per_moment

    def to_input(self, frames: Tensor) -> Tensor:
        """Convert uint8 frames [B, K, S, S, 3] to the network input, float32 [B, K, 3, P, P].

        In training, each clip has one random crop and flip, with the margin of the release.
        Otherwise frames are resized and centre-cropped, as in the network's own processor.
        """
        x = frames.permute(0, 1, 4, 2, 3).to(torch.float32) / 255.0
        how = self.how
        if self.training:
            x = crop_and_flip(
                self._resized(x, max(x.shape[-1], round(how.input_px * CROP_MARGIN))), how.input_px
            )
        else:
            x = self._resized(x, how.resize_px)
            first = (how.resize_px - how.input_px) // 2
            x = x[..., first : first + how.input_px, first : first + how.input_px]
        return (x - self.mean) / self.std

    def _resized(self, x: Tensor, size_px: int) -> Tensor:
        if x.shape[-1] == size_px:
            return x
        flat = F.interpolate(
            x.flatten(0, 1),
            size=(size_px, size_px),
            mode="bicubic" if self.how.bicubic else "bilinear",
            align_corners=False,
            antialias=True,
        )
        return flat.clamp(0.0, 1.0).unflatten(0, x.shape[:2])

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 frames [B, K, S, S, 3] to [B, M * rows * columns, D], in order of time."""
        with torch.autocast(frames.device.type, enabled=False):
            x = self.to_input(frames)
        return self.tokens(x)


class HubVisual(VisualEncoder):
    """A visual network of transformers.

    Args:
        source: Source of the network.
        network: The network; it returns ``last_hidden_state``.
        how: Settings of its input.
        frame_px: Side of the stored frames; ``how.resize_px`` by default.
    """

    def __init__(
        self, source: Source, network: nn.Module, how: ImageInput, frame_px: int | None = None
    ) -> None:
        config: Any = network.config
        is_map = source.kind == "resnet"
        if is_map:
            dim, side = int(config.hidden_sizes[-1]), downsampled(how.input_px)
        else:
            dim = int(config.hidden_size)
            side = how.input_px // _side(config.patch_size, source)
        is_video = source.kind == "videomae"
        super().__init__(
            source,
            network,
            how,
            dim=dim,
            grid=(side, side),
            frame_px=frame_px,
            num_frames=config.num_frames if is_video else None,
            frames_per_moment=config.tubelet_size if is_video else 1,
        )
        self.is_map = is_map
        registers = int(getattr(config, "num_register_tokens", 0))
        self.num_special = 0 if is_video else 1 + registers

    def tokens(self, x: Tensor) -> Tensor:
        """See `VisualEncoder`."""
        if self.num_frames is not None:
            tokens: Tensor = self.network(pixel_values=x).last_hidden_state
            return tokens
        batch = x.shape[0]
        x = x.flatten(0, 1)  # [B * K, 3, P, P]
        if self.is_map:
            x = x.contiguous(memory_format=torch.channels_last)
        out = self.network(pixel_values=x).last_hidden_state
        out = out.flatten(2).transpose(1, 2) if self.is_map else out[:, self.num_special :]
        return out.unflatten(0, (batch, -1)).flatten(1, 2)


def load_visual_encoder(source: Source) -> VisualEncoder:
    """Load a visual encoder from its source.

    Raises:
        InputError: If it cannot be loaded.
    """
    import transformers

    classes: dict[str, Any] = {
        "vit": transformers.ViTModel,
        "dinov2": transformers.Dinov2Model,
        "dinov3_vit": transformers.DINOv3ViTModel,
        "videomae": transformers.VideoMAEModel,
        "resnet": transformers.ResNetModel,
    }
    how = {"add_pooling_layer": False} if source.kind == "vit" else {}
    network = load_network(source, classes[source.kind], **how)
    return HubVisual(source, network, read_image_input(source))
