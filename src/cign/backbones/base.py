"""The interface of a backbone: it encodes frames and a waveform as tokens.

Legend: B clips, K frames per clip, S stored frame size, P input size, L samples, N tokens, D width.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.backbones.blocks import FrozenBlocks
from cign.data.media.decode import MediaSpec
from cign.utils.seeding import per_clip


class Backbone(nn.Module, ABC):
    """Encodes decoded clips as tokens.

    Attributes:
        name: Name on the command line and in a store.
        spec: Required decoding.
        input_px: Side of the square input of the visual encoder, in pixels.
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
        """Number of audio tokens of a clip."""
        return self.audio_grid[0] * self.audio_grid[1]

    @property
    def num_visual_tokens(self) -> int:
        """Number of visual tokens of a clip, over all of its frames."""
        return self.spec.num_frames * self.visual_grid[0] * self.visual_grid[1]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on weights and input, one sentence each."""
        return ()

    @property
    def runtime(self) -> str:
        """What computes the tokens; others give the same tokens within float16's rounding."""
        return "torch"

    @abstractmethod
    def audio_tokens(self, audio: Tensor) -> Tensor:
        """Encode audio.

        Args:
            audio: Samples, int16 or floating point in [-1, 1], shape [B, L].

        Returns:
            Audio tokens, shape [B, num_audio_tokens, audio_dim], ordered by frequency, then time.
        """

    @abstractmethod
    def visual_tokens(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: RGB frames, uint8, shape [B, K, S, S, 3].

        Returns:
            Visual tokens, shape [B, K * rows * columns, visual_dim], frame by frame, row-major.
        """

    def audio_stem(self, audio: Tensor) -> Tensor:
        """The audio tokens that enter `token_blocks`; shapes as in `audio_tokens`."""
        raise NotImplementedError

    def visual_stem(self, frames: Tensor) -> Tensor:
        """The visual tokens that enter `token_blocks`; shapes as in `visual_tokens`."""
        raise NotImplementedError

    def token_blocks(self) -> FrozenBlocks | None:
        """The transformers between stem and tokens, with shared weights; None without any."""
        return None

    @property
    def fingerprint(self) -> str:
        """A hash of weights and input settings, so that tokens of different backbones never mix."""
        digest = hashlib.sha256(f"{self.name} {self.spec} {self.input_px}".encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            # A view as bytes works for every dtype, bf16 included.
            data = value.detach().cpu().contiguous().reshape(-1)
            digest.update(data.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def crop_and_flip(frames: Tensor, size_px: int) -> Tensor:
    """Training augmentation of the release: one random crop and flip for each clip.

    Args:
        frames: Frames, shape [B, K, 3, S, S].
        size_px: P <= S.

    Returns:
        Frames, shape [B, K, 3, P, P]; the frames of a clip share their crop and flip.
    """
    batch, _, _, size, _ = frames.shape
    offsets = per_clip(lambda n: torch.randint(0, size - size_px + 1, (n, 2)), batch)
    flips = per_clip(torch.rand, batch) < 0.5
    out = []
    for clip, (y, x), flip in zip(frames, offsets.tolist(), flips.tolist(), strict=True):
        crop = clip[..., y : y + size_px, x : x + size_px]
        out.append(crop.flip(-1) if flip else crop)
    return torch.stack(out)


def to_input(frames: Tensor, size_px: int, *, train: bool) -> Tensor:
    """Convert uint8 frames [B, K, S, S, 3] to floats in [0, 1], [B * K, 3, P, P].

    Frames are randomly cropped and flipped in training, else resized [release]. Stored frames are
    squares with changed aspect ratio, and so are the crops (ours).
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
