"""The trunk of the baselines: audio, visual and fused linear heads on pooled tokens.

Legend: B clips, N tokens, C classes seen, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from cign.errors import one_of
from cign.models.encoder import Encoder
from cign.models.growing import GrowingLinear
from cign.models.transformer import Transformer

Trunk = Literal["linear", "transformer"]
READINGS = ("audio", "visual", "audio_visual")


class HeadsNetwork(nn.Module):
    """Three heads that never share features: the audio reading does not touch visual ones.

    Args:
        encoder: Gives the tokens of a batch.
        trunk: ``linear``: heads on the mean token. ``transformer``: the small transformer of
            `cign` over each modality's tokens first.
        width: D of the transformer; None takes the width of the visual tokens.
        depth: Blocks of the transformer.
        num_heads: Heads of its attention.
        drop_path: Stochastic depth rate.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        trunk: Trunk = "linear",
        width: int | None = None,
        depth: int = 2,
        num_heads: int = 8,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if trunk not in ("linear", "transformer"):
            raise one_of(trunk, ("linear", "transformer"), "trunk")
        self.encoder = encoder
        audio_dim, visual_dim = encoder.shape.audio_dim, encoder.shape.visual_dim
        self.audio_trunk: nn.Module
        self.visual_trunk: nn.Module
        if trunk == "transformer":
            width = width or visual_dim
            self.audio_trunk, self.visual_trunk = (
                nn.Sequential(
                    nn.Linear(in_dim, width),
                    Transformer(width, depth, num_heads, drop_path=drop_path),
                )
                for in_dim in (audio_dim, visual_dim)
            )
            audio_dim = visual_dim = width
        else:
            self.audio_trunk, self.visual_trunk = nn.Identity(), nn.Identity()
        # Normalised without learned scale: heads see features of one size for every backbone.
        self.audio_norm = nn.LayerNorm(audio_dim, elementwise_affine=False)
        self.visual_norm = nn.LayerNorm(visual_dim, elementwise_affine=False)
        self.dims = {
            "audio": audio_dim,
            "visual": visual_dim,
            "audio_visual": audio_dim + visual_dim,
        }
        self.heads = nn.ModuleDict(
            {reading: GrowingLinear(self.dims[reading]) for reading in READINGS}
        )

    def grow(self, num_new: int) -> None:
        """Add ``num_new`` outputs to each head."""
        for head in self.heads.values():
            assert isinstance(head, GrowingLinear)
            head.grow(num_new)

    def features(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Pooled features of each reading, shapes [B, D], [B, D] and [B, 2 D]."""
        audio_tokens, visual_tokens = self.encoder(audio, visual)
        heard = self.audio_norm(self.audio_trunk(audio_tokens).mean(dim=1))
        seen = self.visual_norm(self.visual_trunk(visual_tokens).mean(dim=1))
        return {"audio": heard, "visual": seen, "audio_visual": torch.cat([heard, seen], dim=-1)}

    def classify(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of each reading, shape [B, C]."""
        return {reading: self.heads[reading](features[reading]) for reading in READINGS}

    def forward(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Logits of each reading for a batch, shape [B, C]."""
        return self.classify(self.features(audio, visual))
