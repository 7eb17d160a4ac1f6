"""The class-incremental grouping network: class tokens that group what is heard and what is seen.

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
from cign.layers.transformer import Transformer
from cign.networks.encoder import Encoder
from cign.networks.grouping import Assignment, Grouped, Grouping, MeanComparison


class ModalityOutput(NamedTuple):
    """What one modality gives.

    Attributes:
        logits: w . g_i + b, shape [B, C]; its sigmoid is p_i.
        transformed: Class tokens after the transformer, c^_i, shape [B, C, D].
        grouped: The grouping's embeddings, tokens and assignment.
    """

    logits: Tensor
    transformed: Tensor
    grouped: Grouped

    def float(self) -> ModalityOutput:
        """The same in float32."""
        grouped = Grouped(*(part.float() for part in self.grouped))
        return ModalityOutput(self.logits.float(), self.transformed.float(), grouped)


class CignOutput(NamedTuple):
    """Both modalities of `CignNetwork`."""

    audio: ModalityOutput
    visual: ModalityOutput


def added_by_grouping(output: CignOutput, probabilities: Sequence[Tensor]) -> Tensor:
    """A clip's embedding: what the grouping added to each class token, weighted by the classes.

    sum_i p_i (g_i - c^_i) of each modality, so that no true label is used.

    Args:
        output: Of a batch.
        probabilities: p of each modality, shape [B, C].

    Returns:
        Shape [B, 2 D].
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
        pool: Whether the encoder's tokens are max-pooled to one before the projection, as the
            release does for sound.
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
        """Make room for ``num_new`` classes where weights depend on their number."""
        if self.grouping is not None:
            self.grouping.grow(num_new)

    def forward(self, features: Tensor, tokens: Tensor) -> ModalityOutput:
        """Read one modality.

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
    """CIGN's network. [paper; MGN eq. 7-13; details: release; see method.md section 2].

    The release's MLP across the token axis is left out unless asked for: its weights depend on the
    number of classes, and the rule by which they grow is ours.

    Args:
        encoder: Gives the tokens of a batch.
        width: D; None takes the width of the visual tokens.
        depth: Blocks of the transformer.
        num_heads: Heads of its attention.
        mlp_ratio: Inner width of the MLPs over D.
        drop_path: Stochastic depth rate.
        assignment: ``soft`` or ``hard``.
        pool_audio: Max-pool the audio tokens to one. [release]
        grouping: False compares the tokens with the mean feature instead (ours, for ablation).
        token_mixing: The release's MLP across the token axis.
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
        width = width or encoder.shape.visual_dim
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
        """Read a batch: cached tokens or media, as `Encoder` takes them."""
        audio_tokens, visual_tokens = self.encoder(audio, visual)
        tokens = self.tokens()
        with bf16_if(self.encoder.bf16, audio_tokens.device.type):
            heard, seen = self.audio(audio_tokens, tokens), self.visual(visual_tokens, tokens)
        return CignOutput(heard.float(), seen.float())

    def token_logits(self) -> Tensor:
        """The token head on the raw class tokens, shape [C, C]."""
        return self.token_head(self.tokens())
