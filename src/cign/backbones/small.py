"""The small encoder pair, which every method can use without a download. All of it is ours.

Each modality has a convolutional stem of stride 16 and two transformer blocks. The shipped weights
were trained by ``python -m cign.backbones.pretrain.training``, only on the classes of the synthetic
dataset with ``--world 0``.

Legend: B clips, K frames per clip, S frame size, L samples, T spectrogram frames, N tokens,
D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.backbones.base import Backbone, to_input
from cign.backbones.blocks import FrozenBlocks, TokenBlocks
from cign.backbones.preprocessing.mel import LogMel
from cign.backbones.registered import register_backbone
from cign.data.media.decode import PRESETS
from cign.errors import InputError
from cign.layers.transformer import Block
from cign.utils.files import read_json

STRIDE = 16
SMALL_WIDTH = 192
SMALL_PX = 96
MOST_BLOCKS = 48
AUDIO_FILE, VISUAL_FILE, RECORD_FILE = "audio.safetensors", "visual.safetensors", "small.json"
SHIPPED_WEIGHTS = Path(__file__).parent / "weights"


class Stem(nn.Module):
    """Three stages of a strided and a residual convolution: stride 4, then 2 and 2.

    Args:
        in_channels: Channels of the input.
        widths: Channels after each stage; group normalisation in groups of 8, so that the tokens
            of a clip never depend on its batch.
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.down, self.norm, self.same = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            size, stride = (7, 4) if i == 0 else (3, 2)
            self.down.append(nn.Conv2d(in_channels, width, size, stride, size // 2, bias=False))
            self.norm.append(nn.GroupNorm(width // 8, width))
            self.same.append(nn.Conv2d(width, width, 3, padding=1))
            in_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, widths[-1], H / 16, W / 16], each division rounded up."""
        for down, norm, same in zip(self.down, self.norm, self.same, strict=True):
            x = F.gelu(norm(down(x)))
            x = x + F.gelu(same(x))
        return x


class PatchStem(nn.Module):
    """One linear map of each patch of 16 x 16 values, as in a vision transformer.

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(in_channels, width, STRIDE, STRIDE)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, width, H / 16, W / 16]; H and W are multiples of 16."""
        out: Tensor = self.map(x)
        return out


def stem_of(in_channels: int, widths: Sequence[int], *, patches: bool) -> nn.Module:
    """The convolutional stem, or the map of patches with the same output."""
    return PatchStem(in_channels, widths[-1]) if patches else Stem(in_channels, widths)


class SmallAudioEncoder(nn.Module):
    """Encodes audio as tokens over time; each covers all frequencies of 16 spectrogram frames.

    Args:
        width: D.
        depth: Transformer blocks.
        num_heads: Heads of each.
        stem_widths: Channels of the stem.
        num_mels: M, a multiple of 16.
        rate_hz: Sample rate.
        patches: Whether patches are mapped linearly instead of by the convolutions of the stem.
    """

    def __init__(
        self,
        width: int = SMALL_WIDTH,
        depth: int = 2,
        num_heads: int = 6,
        stem_widths: Sequence[int] = (48, 96, 128),
        num_mels: int = 64,
        rate_hz: int = 16_000,
        *,
        patches: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.log_mel = LogMel(rate_hz=rate_hz, num_mels=num_mels)
        self.stem = stem_of(2, stem_widths, patches=patches)
        self.project = nn.Linear(stem_widths[-1] * num_mels // STRIDE, width)
        self.place = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_ratio=2.0) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def num_tokens(self, num_samples: int) -> int:
        """Number of tokens of a waveform of this length: 12 for 3 s at 16 kHz."""
        return -(-(1 + num_samples // self.log_mel.hop) // STRIDE)

    def embed(self, audio: Tensor) -> Tensor:
        """Map a waveform to the input tokens of the transformer.

        Args:
            audio: Samples, int16 or floating point in [-1, 1], shape [B, L].

        Returns:
            Tokens, shape [B, N, D].
        """
        scale = 1.0 if audio.is_floating_point() else 1.0 / 32768.0
        # The transform stays in float32 under autocast: half precision loses quiet partials.
        with torch.autocast(audio.device.type, enabled=False):
            mel = self.log_mel(audio.float() * scale)  # [B, M, T]
            # Subtracting the mean of the clip removes loudness; in the second channel, subtracting
            # the mean of each band removes colouration and hum.
            level = mel - mel.mean(dim=(1, 2), keepdim=True)
            change = mel - mel.mean(dim=2, keepdim=True)
            x = torch.stack([level, change], dim=1) / 3.0
        x = F.pad(x, (0, -x.shape[-1] % STRIDE)).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)  # [B, C, M / 16, N]
        x = self.project(x.flatten(1, 2).transpose(1, 2))
        return x + self.place(x.transpose(1, 2)).transpose(1, 2)

    def forward(self, audio: Tensor) -> Tensor:
        """Map a waveform [B, L] (see `embed`) to tokens [B, N, D]."""
        x = self.embed(audio)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out


class SmallVisualEncoder(nn.Module):
    """Encodes frames as one token per 16 x 16 pixels, without attention between frames.

    Args:
        width: D.
        depth: Transformer blocks.
        num_heads: Heads of each.
        stem_widths: Channels of the stem.
        size_px: Side of the square that frames are resized to, a multiple of 16.
        patches: As for `SmallAudioEncoder`.
    """

    def __init__(
        self,
        width: int = SMALL_WIDTH,
        depth: int = 2,
        num_heads: int = 6,
        stem_widths: Sequence[int] = (64, 96, 160),
        size_px: int = SMALL_PX,
        *,
        patches: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.size_px = size_px
        self.stem = stem_of(3, stem_widths, patches=patches)
        self.project = nn.Linear(stem_widths[-1], width)
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_ratio=2.0) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def embed(self, frames: Tensor) -> Tensor:
        """Map frames to the input tokens of the transformer.

        Args:
            frames: RGB frames, uint8, shape [B, K, S, S, 3].

        Returns:
            Tokens, shape [B * K, (size_px / 16) ** 2, D], row-major.
        """
        x = to_input(frames, self.size_px, train=False)  # [B * K, 3, size_px, size_px]
        x = self.project(self.stem(4.0 * x - 2.0).permute(0, 2, 3, 1))  # [B * K, rows, columns, D]
        x = x + self.place(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x.flatten(1, 2)

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames [B, K, S, S, 3] to tokens [B, K * N, D], frame by frame, row-major."""
        x = self.embed(frames)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out.unflatten(0, (frames.shape[0], -1)).flatten(1, 2)


@dataclass(frozen=True, kw_only=True)
class SmallShape:
    """The shape of a pair.

    Attributes:
        depth: Transformer blocks of each encoder.
        patches: Whether both start from patches (`PatchStem`) instead of convolutions; with more
            blocks they are then shaped like vision transformers.
    """

    depth: int = 2
    patches: bool = False

    @classmethod
    def of(cls, folder: Path) -> SmallShape:
        """The shape that the record of a folder states; the default without one.

        Raises:
            InputError: If the record is damaged.
        """
        path = folder / RECORD_FILE
        values = read_json(path, "record of the encoders") if path.is_file() else {}
        config = values.get("config", {}) if isinstance(values, dict) else {}
        depth, patches = config.get("depth", cls.depth), config.get("patches", cls.patches)
        if not isinstance(depth, int) or not 1 <= depth <= MOST_BLOCKS or patches not in (0, 1):
            raise InputError(
                "damaged",
                f"{path} names encoders of depth {depth!r} with patches {patches!r}: restore it",
            )
        return cls(depth=depth, patches=bool(patches))


def random_small_pair(
    seed: int = 0, shape: SmallShape | None = None
) -> tuple[SmallAudioEncoder, SmallVisualEncoder]:
    """Build the pair with random weights."""
    shape = shape or SmallShape()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        audio = SmallAudioEncoder(depth=shape.depth, patches=shape.patches)
        visual = SmallVisualEncoder(depth=shape.depth, patches=shape.patches)
    return audio.eval(), visual.eval()


def load_small_pair(
    folder: Path = SHIPPED_WEIGHTS,
) -> tuple[SmallAudioEncoder, SmallVisualEncoder]:
    """Load the pair in evaluation mode, in float32.

    Args:
        folder: Folder of ``audio.safetensors`` and ``visual.safetensors`` (stored in float16), and
            of ``small.json`` with their shape.

    Raises:
        InputError: If a file is missing, unreadable, or does not match the network exactly.
    """
    from safetensors.torch import load_file

    pair = random_small_pair(shape=SmallShape.of(folder))
    for encoder, name in zip(pair, (AUDIO_FILE, VISUAL_FILE), strict=True):
        path = folder / name
        try:
            state = {key: value.float() for key, value in load_file(path).items()}
            encoder.load_state_dict(state, strict=True)
        except Exception as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(
                "missing-weights",
                f"the small encoder's weights {path} cannot be loaded ({reason}): "
                "install the package again, or make them with `make encoders`",
            ) from None
    return pair


class SmallPair(Backbone):
    """The small encoders as a backbone: 96 px frames and 3 s at 16 kHz.

    Args:
        name: ``small`` (shipped weights), ``small-random``, or a name for those of ``folder``.
        folder: Weights written by ``python -m cign.backbones.pretrain.training``.
        weights: False leaves the weights random, because they are loaded afterwards.
    """

    def __init__(
        self, name: str = "small", folder: Path | None = None, *, weights: bool = True
    ) -> None:
        super().__init__()
        self.name = name
        self.spec = PRESETS["small"]
        self.input_px = SMALL_PX
        if name == "small-random" or not weights:
            shape = None if folder is None else SmallShape.of(folder)
            self.audio, self.visual = random_small_pair(shape=shape)
        else:
            self.audio, self.visual = load_small_pair(folder or SHIPPED_WEIGHTS)
        self.audio_dim, self.visual_dim = self.audio.width, self.visual.width
        num_samples = round(self.spec.rate_hz * self.spec.window_s)
        self.audio_grid = (1, self.audio.num_tokens(num_samples))
        self.visual_grid = (SMALL_PX // STRIDE, SMALL_PX // STRIDE)

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens: Tensor = self.audio(audio)
        return tokens

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens: Tensor = self.visual(frames)
        return tokens

    def audio_stem(self, audio: Tensor) -> Tensor:
        """See `Backbone`."""
        return self.audio.embed(audio)

    def visual_stem(self, frames: Tensor) -> Tensor:
        """See `Backbone`."""
        return self.visual.embed(frames).unflatten(0, (frames.shape[0], -1)).flatten(1, 2)

    def token_blocks(self) -> FrozenBlocks:
        """See `Backbone`."""
        audio, visual = self.audio, self.visual
        num_patches = self.visual_grid[0] * self.visual_grid[1]
        return FrozenBlocks(
            TokenBlocks(
                audio.blocks, audio.norm, width=audio.width, num_tokens=self.num_audio_tokens
            ),
            TokenBlocks(visual.blocks, visual.norm, width=visual.width, num_tokens=num_patches),
        )


@register_backbone("small")
def _small(*, weights: bool) -> Backbone:
    return SmallPair("small", weights=weights)


@register_backbone("small-random")
def _small_random(*, weights: bool) -> Backbone:
    return SmallPair("small-random", weights=weights)
