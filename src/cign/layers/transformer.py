"""Attention blocks shared by the class-token transformer, the grouping and the trunk of heads.

Legend: B clips, Q queries, N keys, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.errors import InputError
from cign.utils.seeding import per_clip


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops a residual branch for whole samples.

    Args:
        rate: Probability of a drop in training; remaining samples are divided by 1 - rate.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Drop samples of the branch [B, ...] in training; pass it through in evaluation."""
        if not self.training or self.rate == 0.0:
            return branch
        ones = (1,) * (branch.ndim - 1)
        keep = per_clip(lambda n: torch.rand(n, *ones, device=branch.device), len(branch))
        keep = keep >= self.rate
        return branch * keep.to(branch.dtype) / (1.0 - self.rate)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017) from queries to keys.

    Args:
        width: D.
        num_heads: H, a divisor of D.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise InputError(
                "bad-value",
                f"a width of {width} does not divide by {num_heads} heads: use a number of heads "
                "that divides it",
            )
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, keys: Tensor, prefix: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Compute attention.

        Args:
            queries: Queries, shape [B, Q, D].
            keys: Keys, shape [B, N, D]; equal to ``queries`` for self-attention.
            prefix: Extra keys and values, each [B, P, D], prepended to the projected ones.

        Returns:
            Attention output, shape [B, Q, D].
        """
        key, value = self.key_value(keys).chunk(2, dim=-1)
        if prefix is not None:
            key = torch.cat([prefix[0].to(key.dtype), key], dim=1)
            value = torch.cat([prefix[1].to(value.dtype), value], dim=1)
        q, k, v = (self._split(x) for x in (self.query(queries), key, value))
        mixed = attend(q, k, v)  # [B, H, Q, D / H]
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """Split into heads: [B, N, D] -> [B, H, N, D / H]."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention, shapes [B, H, Q, D / H] and [B, H, N, D / H].

    In bfloat16 on a CPU it is computed step by step: the backward pass of the fused kernel is slow
    there, and torch's unfused implementation also checks for fully masked rows.
    """
    if q.dtype != torch.bfloat16 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return weights.softmax(dim=-1) @ v


def mlp(width: int, ratio: float) -> nn.Sequential:
    """Two linear layers with GELU, the inner one ``ratio`` times as wide."""
    inner = int(width * ratio)
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


class Block(nn.Module):
    """Pre-norm transformer block.

    Args:
        width: D.
        num_heads: H.
        mlp_ratio: Inner width of the MLP over D.
        drop_path: Stochastic depth rate.
    """

    def __init__(
        self, width: int, num_heads: int, *, mlp_ratio: float = 4.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, prefix: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Map tokens [B, N, D] to tokens [B, N, D]; ``prefix`` as in `Attention`."""
        y = self.norm_attention(x)
        x = x + self.drop_path(self.attention(y, y, prefix))
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class CrossBlock(nn.Module):
    """One cross-attention block with a final layer norm.

    Source: the CIGN release (token side of its grouping).

    Args:
        width: D.
        num_heads: H.
        mlp_ratio: Inner width of the MLP over D.
        drop_path: Stochastic depth rate.
    """

    def __init__(
        self, width: int, num_heads: int, *, mlp_ratio: float = 4.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = Attention(width, num_heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio)
        self.norm_out = nn.LayerNorm(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Update queries [B, Q, D] from keys [B, N, D]; returns [B, Q, D]."""
        x = queries + self.drop_path(self.attention(queries, keys))
        x = x + self.drop_path(self.mlp(self.norm_mlp(x)))
        out: Tensor = self.norm_out(x)
        return out


WIDEST = 512
"""Width of the tokens of the release's ResNet-18."""


def default_width(token_width: int) -> int:
    """The width of a transformer on tokens of a given width: the same, at most `WIDEST` (ours)."""
    return min(token_width, WIDEST)


class Transformer(nn.Module):
    """A stack of pre-norm blocks.

    Args:
        width: D.
        depth: Number of blocks.
        num_heads: H.
        mlp_ratio: Inner width of the MLP over D.
        drop_path: Stochastic depth rate of every block.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path) for _ in range(depth)
        )

    def forward(self, x: Tensor, on_block: Callable[[int, Tensor], None] | None = None) -> Tensor:
        """Map tokens [B, N, D] to tokens [B, N, D].

        Args:
            x: Input tokens.
            on_block: Called with (block index, tokens after it), for distillation of inner
                outputs.
        """
        for i, block in enumerate(self.blocks):
            x = block(x)
            if on_block is not None:
                on_block(i, x)
        return x
