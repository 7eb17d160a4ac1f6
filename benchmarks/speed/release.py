"""The architecture of CIGN's release in fp32, as a baseline; written from its description.

It has every block of the release, as listed with sources in docs/methods/cign.md: a pair of
ResNet-18, class tokens, a transformer over features and tokens for each modality, token mixing
C -> 256 -> C, cross-attention, grouping, a scalar head, a token head; and the losses of its
training step. It uses plain torch modules in their default layout and is not tuned in any way.

Legend: B clips, N features, C classes, D width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, DEPTH, HEADS, RATIO, DROP, MIXED = 512, 3, 8, 4, 0.1, 256


def resnet18(num_channels: int) -> nn.Module:
    """ResNet-18 with random weights, in the default layout."""
    from transformers import ResNetConfig, ResNetModel

    shape: dict[str, Any] = {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}
    config = ResNetConfig(num_channels=num_channels, embedding_size=64, layer_type="basic", **shape)
    return ResNetModel(config)


def drop_path(x: Tensor, training: bool) -> Tensor:
    """Stochastic depth per clip."""
    if not training:
        return x
    keep = torch.rand(len(x), 1, 1, device=x.device) >= DROP
    return x * keep / (1 - DROP)


class Attention(nn.Module):
    """Multi-head attention, explicitly as softmax(Q K^T / sqrt(d)) V."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """[B, Q, D], [B, N, D] -> [B, Q, D]."""
        q, k, v = (
            layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, keys))
        )
        weights = (q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS)).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


def mlp() -> nn.Sequential:
    """Linear, GELU, linear."""
    return nn.Sequential(
        nn.Linear(WIDTH, RATIO * WIDTH), nn.GELU(), nn.Linear(RATIO * WIDTH, WIDTH)
    )


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.mlp = Attention(), mlp()

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        y = self.norm_attention(x)
        x = x + drop_path(self.attention(y, y), self.training)
        return x + drop_path(self.mlp(self.norm_mlp(x)), self.training)


class Grouping(nn.Module):
    """Token mixing, cross-attention, soft assignment, grouped embedding."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        names = ("features", "tokens", "mixed", "mlp", "crossed", "embedding")
        self.norms = nn.ModuleDict({name: nn.LayerNorm(WIDTH) for name in names})
        self.mixing = nn.Sequential(
            nn.Linear(num_classes, MIXED), nn.GELU(), nn.Linear(MIXED, num_classes)
        )
        self.attention, self.mlp_cross, self.mlp = Attention(), mlp(), mlp()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """[B, N, D], [B, C, D] -> g, [B, C, D]."""
        features, tokens = self.norms["features"](features), self.norms["tokens"](tokens)
        mixed = self.mixing(tokens.transpose(1, 2)).transpose(1, 2)  # across the token axis
        tokens = self.norms["mixed"](mixed)
        tokens = tokens + drop_path(self.attention(tokens, features), self.training)
        inner = self.mlp_cross(self.norms["mlp"](tokens))
        tokens = self.norms["crossed"](tokens + drop_path(inner, self.training))
        scores = self.query(features) @ self.key(tokens).transpose(1, 2) / math.sqrt(WIDTH)
        shares = scores.softmax(dim=-1).transpose(1, 2)  # [B, C, N], over the classes
        mean = (shares @ self.value(features)) / (shares.sum(dim=-1, keepdim=True) + 1.0)
        grouped = tokens + self.out(mean)
        return grouped + self.mlp(self.norms["embedding"](grouped))


class Modality(nn.Module):
    """Projection, normalisation, transformer, grouping, scalar head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.grouping = Grouping(num_classes)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Encoder features [B, N, D] and class tokens [C, D] -> logits [B, C]."""
        features = F.normalize(self.project(features), dim=-1)
        num_features = features.shape[1]
        x = torch.cat([features, tokens.expand(len(features), -1, -1)], dim=1)
        for block in self.blocks:
            x = block(x)
        grouped = self.grouping(x[:, :num_features], x[:, num_features:])
        return self.head(grouped).squeeze(-1)


class ReleaseNetwork(nn.Module):
    """The whole network for a fixed number of classes.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.visual_encoder, self.audio_encoder = resnet18(3), resnet18(1)
        self.tokens = nn.Parameter(torch.zeros(num_classes, WIDTH))
        self.token_head = nn.Linear(WIDTH, num_classes)
        self.audio, self.visual = Modality(num_classes), Modality(num_classes)

    def forward(self, spectrograms: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both modalities, each [B, C].

        Args:
            spectrograms: Log spectrograms, shape [B, 1, 257, 276].
            frames: Normalised frames, shape [B, 3, 224, 224].
        """
        audio = self.audio_encoder(pixel_values=spectrograms).last_hidden_state
        audio = F.adaptive_max_pool2d(audio, 1).flatten(2).transpose(1, 2)  # [B, 1, D]
        visual = self.visual_encoder(pixel_values=frames).last_hidden_state
        visual = visual.flatten(2).transpose(1, 2)  # [B, 49, D]
        return self.audio(audio, self.tokens), self.visual(visual, self.tokens)

    def loss_of(self, audio: Tensor, visual: Tensor, labels: Tensor) -> Tensor:
        """Token classification and the grouping losses of both modalities, unweighted.

        Args:
            audio: Audio logits, shape [B, C].
            visual: Visual logits, shape [B, C].
            labels: Class indices, shape [B].
        """
        targets = F.one_hot(labels, len(self.tokens)).to(audio.dtype)
        grouping = sum(
            F.binary_cross_entropy(logits.sigmoid(), targets) for logits in (audio, visual)
        )
        numbers = torch.arange(len(self.tokens), device=labels.device)
        return F.cross_entropy(self.token_head(self.tokens), numbers) + grouping
