"""The encoder from a batch to tokens: the identity (cached tokens) or a trained backbone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from cign.backbones.base import Backbone
from cign.layers.precision import bf16_if


@dataclass(frozen=True, kw_only=True)
class TokenShape:
    """Shape of the input tokens of a network.

    Attributes:
        audio_dim: Width of an audio token.
        visual_dim: Width of a visual token.
        num_audio_tokens: Number of audio tokens of a clip.
        num_visual_tokens: Number of visual tokens of a clip.
        audio_grid: Audio tokens as (frequency, time); None treats them as one row.
        visual_grid: Visual tokens of a frame as (rows, columns); None treats them as one row.
    """

    audio_dim: int
    visual_dim: int
    num_audio_tokens: int
    num_visual_tokens: int
    audio_grid: tuple[int, int] | None = None
    visual_grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("audio_grid", "visual_grid"):
            grid = getattr(self, name)
            if grid is not None:  # JSON stores tuples as lists
                object.__setattr__(self, name, tuple(grid))


class Encoder(nn.Module):
    """Encodes a batch as tokens.

    Args:
        shape: Shape of the tokens.
        backbone: Backbone to train with the rest; None if batches contain cached tokens.
        bf16: Whether to run the backbone, and the layers of a network between tokens and heads, in
            bfloat16 (`bf16_if`); tokens are returned in float32.
    """

    def __init__(
        self, shape: TokenShape, backbone: Backbone | None = None, *, bf16: bool = False
    ) -> None:
        super().__init__()
        self.shape = shape
        self.backbone = backbone
        self.bf16 = bf16

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        Args:
            audio: Cached tokens [B, N_a, D_a], or samples [B, L].
            visual: Cached tokens [B, N_v, D_v], or frames [B, K, S, S, 3].

        Returns:
            Audio tokens [B, N_a, D_a] and visual tokens [B, N_v, D_v], float32.
        """
        if self.backbone is None:
            return audio.float(), visual.float()
        with bf16_if(self.bf16, audio.device.type):
            audio_tokens = self.backbone.audio_tokens(audio)
            visual_tokens = self.backbone.visual_tokens(visual)
        return audio_tokens.float(), visual_tokens.float()
