"""The trunk of the baselines: audio, visual and fused linear heads on pooled tokens.

Legend: B clips, N tokens, C classes seen, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from cign.errors import one_of
from cign.layers.growing import GrowingLinear
from cign.layers.precision import bf16_if
from cign.layers.transformer import Transformer, default_width
from cign.networks.encoder import Encoder
from cign.vocabulary import MODALITIES

Trunk = Literal["linear", "transformer"]
# Callback for inner token maps: modality and tokens [B, N, D].
OnMap = Callable[[str, Tensor], None]


class GrowingHead(Protocol):
    """A head whose outputs are added task by task, such as `GrowingLinear`."""

    def grow(self, num_new: int) -> None:
        """Add ``num_new`` outputs."""


class HeadsNetwork(nn.Module):
    """Three separate heads: audio-only predictions do not depend on visual features or vice versa.

    Args:
        encoder: Encoder that provides the tokens of a batch.
        trunk: ``linear``: heads on the mean token. ``transformer``: first the small transformer of
            `cign` on the tokens of each modality.
        width: D of the transformer; None uses that of the visual tokens, at most 512.
        depth: Blocks of the transformer.
        num_heads: Heads of its attention.
        drop_path: Stochastic depth rate.
        make_head: Builds a head for features of a given width; it must be a `GrowingHead`.
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
        make_head: Callable[[int], nn.Module] = GrowingLinear,
    ) -> None:
        super().__init__()
        if trunk not in ("linear", "transformer"):
            raise one_of(trunk, ("linear", "transformer"), "trunk")
        self.encoder = encoder
        audio_dim, visual_dim = encoder.shape.audio_dim, encoder.shape.visual_dim
        self.audio_trunk: nn.Module
        self.visual_trunk: nn.Module
        if trunk == "transformer":
            width = width or default_width(visual_dim)
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
        # Normalised without a learned scale: features have the same scale for every backbone.
        self.audio_norm = nn.LayerNorm(audio_dim, elementwise_affine=False)
        self.visual_norm = nn.LayerNorm(visual_dim, elementwise_affine=False)
        self.dims = {
            "audio": audio_dim,
            "visual": visual_dim,
            "audio_visual": audio_dim + visual_dim,
        }
        self.heads = nn.ModuleDict(
            {modality: make_head(self.dims[modality]) for modality in MODALITIES}
        )

    def grow(self, num_new: int) -> None:
        """Add ``num_new`` outputs to each head."""
        for module in self.heads.values():
            head: GrowingHead = module  # type: ignore[assignment]
            head.grow(num_new)

    def tokens(
        self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens after the trunk, shapes [B, N_a, D] and [B, N_v, D].

        Args:
            audio: As in `Encoder`.
            visual: As in `Encoder`.
            on_map: Called with the inner maps of each modality in order: the tokens of a trained
                backbone, then those after each block of the transformer.
        """
        audio_tokens, visual_tokens = self.encoder(audio, visual)
        return (
            self._apply_trunk("audio", self.audio_trunk, audio_tokens, on_map),
            self._apply_trunk("visual", self.visual_trunk, visual_tokens, on_map),
        )

    def _apply_trunk(
        self, modality: str, trunk: nn.Module, tokens: Tensor, on_map: OnMap | None
    ) -> Tensor:
        """Tokens of one modality after its trunk; ``on_map`` receives the inner maps in float32."""
        if on_map is not None and self.encoder.backbone is not None:
            on_map(modality, tokens)
        if not isinstance(trunk, nn.Sequential):
            return tokens
        on_block = None if on_map is None else lambda _, x: on_map(modality, x.float())
        project, transformer = trunk
        with bf16_if(self.encoder.bf16, tokens.device.type):
            mapped: Tensor = transformer(project(tokens), on_block)
        return mapped.float()

    def pool(self, audio_tokens: Tensor, visual_tokens: Tensor) -> dict[str, Tensor]:
        """Pool tokens after the trunk to the features of each modality, as in `features`."""
        audio = self.audio_norm(audio_tokens.mean(dim=1))
        visual = self.visual_norm(visual_tokens.mean(dim=1))
        fused = torch.cat([audio, visual], dim=-1)
        return {"audio": audio, "visual": visual, "audio_visual": fused}

    def features(
        self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None
    ) -> dict[str, Tensor]:
        """Pooled features of each modality, shapes [B, D], [B, D] and [B, 2 D].

        ``on_map`` is as in `tokens`.
        """
        return self.pool(*self.tokens(audio, visual, on_map))

    def classify(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of each modality, shape [B, C]."""
        return {modality: self.heads[modality](features[modality]) for modality in MODALITIES}

    def forward(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Logits of each modality for a batch, shape [B, C]."""
        return self.classify(self.features(audio, visual))
