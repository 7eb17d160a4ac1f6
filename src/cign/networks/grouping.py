"""Grouping: features are assigned to class tokens and summed into one embedding for each class.

Legend: B clips, N features, C classes, D width.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from cign.errors import one_of
from cign.layers.growing import TokenMixing
from cign.layers.transformer import CrossBlock, mlp
from cign.utils.seeding import per_clip

Assignment = Literal["soft", "hard"]


class Grouped(NamedTuple):
    """Output of the grouping of one modality.

    Attributes:
        embedding: g_i, shape [B, C, D].
        tokens: c^_i in the sum, after norm and cross-attention, shape [B, C, D].
        assignment: A[n, i], the assignment of each feature to the classes, shape [B, N, C].
    """

    embedding: Tensor
    tokens: Tensor
    assignment: Tensor


def assign(scores: Tensor, kind: Assignment, *, training: bool) -> Tensor:
    """Convert scores to an assignment of each feature to the classes.

    Args:
        scores: Scores, shape [B, ..., N, C].
        kind: ``soft`` is a soft-max. ``hard`` is one for the arg-max and zero for the rest, with
            Gumbel noise (tau 1) in training and the gradient of the soft-max (straight-through).
            [MGN, release]
        training: Whether to add noise to ``hard``.

    Returns:
        The assignment, shape [B, ..., N, C], which sums to one over the last axis.
    """
    if kind == "soft":
        return scores.softmax(dim=-1)
    if training:
        # -log of an exponential variable is Gumbel noise.
        noise = per_clip(
            lambda n: scores.new_empty(n, *scores.shape[1:]).exponential_(), len(scores)
        )
        scores = scores - noise.log()
    soft = scores.softmax(dim=-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


class Grouping(nn.Module):
    """Grouping block of one modality.

    Source: MGN, eq. 7-13; details from the CIGN release.

    Args:
        width: D.
        num_heads: Heads of the cross-attention; the assignment has one.
        mlp_ratio: Inner width of the MLPs over D.
        drop_path: Stochastic depth rate of the cross-attention block.
        assignment: ``soft`` or ``hard``.
        token_mixing: Whether tokens are mixed across the token axis before the cross-attention
            [release]; the mixed tokens are added to the tokens (ours).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        assignment: Assignment = "soft",
        token_mixing: bool = False,
    ) -> None:
        super().__init__()
        if assignment not in ("soft", "hard"):
            raise one_of(assignment, ("soft", "hard"), "assignment")
        self.kind: Assignment = assignment
        self.scale = 1.0 / math.sqrt(width)
        self.norm_features = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width)
        self.mixing = TokenMixing() if token_mixing else None
        self.cross = CrossBlock(width, num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm_embedding = nn.LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio)

    def grow(self, num_new: int) -> None:
        """Add ``num_new`` classes to weights whose shape depends on their number."""
        if self.mixing is not None:
            self.mixing.grow(num_new)

    def forward(self, features: Tensor, tokens: Tensor) -> Grouped:
        """Group features by class.

        A[n,i] = soft-max over classes i of (W_q f_n . W_k c_i) / sqrt(D);
        g_i = c_i + W_o(sum_n A[n,i] W_v f_n / (sum_n A[n,i] + 1)), then + MLP(LN(.)). The + 1 in
        the denominator is from the release.

        Args:
            features: f^_n after the transformer, shape [B, N, D].
            tokens: Class tokens after the transformer, shape [B, C, D].

        Returns:
            The grouped embeddings, the tokens before the sum and the assignment.
        """
        features = self.norm_features(features)
        tokens = self.norm_tokens(tokens)
        if self.mixing is not None:
            tokens = tokens + self.mixing(tokens)
        tokens = self.cross(tokens, features)
        scores = self.query(features) @ self.key(tokens).transpose(1, 2) * self.scale
        shares = assign(scores, self.kind, training=self.training)  # [B, N, C]
        total = shares.transpose(1, 2) @ self.value(features)  # [B, C, D]
        mean = total / (shares.sum(dim=1).unsqueeze(-1) + 1.0)
        embedding = tokens + self.out(mean)
        embedding = embedding + self.mlp(self.norm_embedding(embedding))
        return Grouped(embedding, tokens, shares)


class MeanComparison(nn.Module):
    """The ablation without grouping: each class token is compared with the mean feature.

    It is ours. No features are assigned and no embedding is summed. The score of class i is
    (W_q mean_n f_n . W_k c_i) / sqrt(D) + b, with the norms and projections of the assignment.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = 1.0 / math.sqrt(width)
        self.norm_features = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Grouped]:
        """Compare tokens [B, C, D] with the mean of the features [B, N, D].

        Returns:
            Scores [B, C] and a substitute for a grouping: all features have the same weight for all
            classes, and the mean is added to each token.
        """
        features, tokens = self.norm_features(features), self.norm_tokens(tokens)
        mean = features.mean(dim=1)
        scores = (self.key(tokens) @ self.query(mean).unsqueeze(-1)).squeeze(-1) * self.scale
        num_classes = tokens.shape[1]
        shares = features.new_full((*features.shape[:2], num_classes), 1.0 / num_classes)
        return scores + self.bias, Grouped(tokens + mean.unsqueeze(1), tokens, shares)
