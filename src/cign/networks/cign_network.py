"""The class-incremental grouping network: class tokens that group audio and visual features.

Legend: B clips, N features, C classes seen, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.layers.growing import ClassTokens, GrowingLinear
from cign.layers.precision import bf16_if
from cign.layers.transformer import Transformer, default_width
from cign.networks.encoder import Encoder
from cign.networks.grouping import Assignment, Grouped, Grouping, MeanComparison


class ModalityOutput(NamedTuple):
    """Output of one modality.

    Attributes:
        logits: w . g_i + b, shape [B, C]; their sigmoid is p_i.
        transformed: Class tokens after the transformer, c^_i, shape [B, C, D].
        grouped: Embeddings, tokens and assignment of the grouping.
    """

    logits: Tensor
    transformed: Tensor
    grouped: Grouped

    def float(self) -> ModalityOutput:
        """Convert to float32."""
        grouped = Grouped(*(part.float() for part in self.grouped))
        return ModalityOutput(self.logits.float(), self.transformed.float(), grouped)


class CignOutput(NamedTuple):
    """Output of `CignNetwork` for both modalities."""

    audio: ModalityOutput
    visual: ModalityOutput


def added_by_grouping(output: CignOutput, probabilities: Sequence[Tensor]) -> Tensor:
    """Embed clips by the change of the class tokens in grouping, weighted by class probabilities.

    It is sum_i p_i (g_i - c^_i) for each modality, so that no true label is used.

    Args:
        output: Output for a batch.
        probabilities: p of each modality, shape [B, C].

    Returns:
        Embeddings, shape [B, 2 D].
    """
    parts = [
        (p.unsqueeze(-1) * (modality.grouped.embedding - modality.grouped.tokens)).sum(dim=1)
        for modality, p in zip(output, probabilities, strict=True)
    ]
    return torch.cat(parts, dim=-1)


class ModalityBranch(nn.Module):
    """Projection, class-token transformer, grouping and scalar head of one modality.

    Args:
        in_dim: Width of the encoder's tokens.
        width: D.
        depth: Blocks of the transformer.
        num_heads: Heads of its attention and of the grouping's cross-attention.
        mlp_ratio: Inner width of the MLPs over D.
        drop_path: Stochastic depth rate.
        assignment: ``soft`` or ``hard``.
        pool: Whether the encoder's tokens are max-pooled to one before the projection, as in the
            release for audio.
        grouping: False compares the tokens with the mean feature instead (`MeanComparison`).
        token_mixing: As in `Grouping`.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        width: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path: float,
        assignment: Assignment,
        pool: bool,
        grouping: bool = True,
        token_mixing: bool = False,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.project = nn.Linear(in_dim, width)
        self.transformer = Transformer(
            width, depth, num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path
        )
        self.grouping: Grouping | None = None
        if grouping:
            self.grouping = Grouping(
                width,
                num_heads,
                mlp_ratio=mlp_ratio,
                drop_path=drop_path,
                assignment=assignment,
                token_mixing=token_mixing,
            )
            self.head = nn.Linear(width, 1)
        else:
            self.comparison = MeanComparison(width)

    def grow(self, num_new: int) -> None:
        """Add ``num_new`` classes to weights whose shape depends on their number."""
        if self.grouping is not None:
            self.grouping.grow(num_new)

    def forward(self, features: Tensor, tokens: Tensor) -> ModalityOutput:
        """Compute the output of one modality.

        Args:
            features: The encoder's tokens, shape [B, N, D_in].
            tokens: Raw class tokens, shape [C, D].
        """
        if self.pool:
            features = features.amax(dim=1, keepdim=True)
        features = F.normalize(self.project(features), dim=-1)  # [B, N, D]
        num_features = features.shape[1]
        together = torch.cat([features, tokens.expand(len(features), -1, -1)], dim=1)
        together = self.transformer(together)
        features, transformed = together[:, :num_features], together[:, num_features:]
        if self.grouping is None:
            logits, grouped = self.comparison(features, transformed)
            return ModalityOutput(logits, transformed, grouped)
        grouped = self.grouping(features, transformed)
        return ModalityOutput(self.head(grouped.embedding).squeeze(-1), transformed, grouped)


class CignNetwork(nn.Module):
    """The network of CIGN [paper; MGN eq. 7-13; details from the release].

    The release's MLP across the token axis is off by default: its weights depend on the number of
    classes, and the rule by which they grow is ours.

    Args:
        encoder: Encoder that provides the tokens of a batch.
        width: D; None uses that of the visual tokens, at most 512.
        depth: Blocks of the transformer.
        num_heads: Heads of its attention.
        mlp_ratio: Inner width of the MLPs over D.
        drop_path: Stochastic depth rate.
        assignment: ``soft`` or ``hard``.
        pool_audio: Whether to max-pool the audio tokens to one. [release]
        grouping: False compares the tokens with the mean feature instead (ours, for ablation).
        token_mixing: Whether to use the release's MLP across the token axis.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        width: int | None = None,
        depth: int = 3,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        assignment: Assignment = "soft",
        pool_audio: bool = True,
        grouping: bool = True,
        token_mixing: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        width = width or default_width(encoder.shape.visual_dim)
        self.audio, self.visual = (
            ModalityBranch(
                in_dim,
                width=width,
                depth=depth,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                drop_path=drop_path,
                assignment=assignment,
                pool=pool,
                grouping=grouping,
                token_mixing=token_mixing,
            )
            for in_dim, pool in (
                (encoder.shape.audio_dim, pool_audio),
                (encoder.shape.visual_dim, False),
            )
        )
        self.tokens = ClassTokens(width)
        self.token_head = GrowingLinear(width)

    def grow(self, num_new: int) -> None:
        """Add class tokens and token-head outputs for ``num_new`` classes."""
        self.tokens.grow(num_new)
        self.token_head.grow(num_new)
        self.audio.grow(num_new)
        self.visual.grow(num_new)

    def forward(self, audio: Tensor, visual: Tensor) -> CignOutput:
        """Compute the output of a batch of cached tokens or media, as in `Encoder`."""
        audio_tokens, visual_tokens = self.encoder(audio, visual)
        tokens = self.tokens()
        with bf16_if(self.encoder.bf16, audio_tokens.device.type):
            audio_output = self.audio(audio_tokens, tokens)
            visual_output = self.visual(visual_tokens, tokens)
        return CignOutput(audio_output.float(), visual_output.float())

    def token_logits(self) -> Tensor:
        """Logits of the token head on the raw class tokens, shape [C, C]."""
        return self.token_head(self.tokens())
