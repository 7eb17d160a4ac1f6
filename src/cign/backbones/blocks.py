"""Frozen transformer blocks that prompts can enter, and the tokens that enter them.

Prompts change what comes out of a frozen transformer, so prompt methods cannot start from its
output. They start from the tokens that enter it: a backbone ``NAME-stem`` gives those, so that
``cign prepare --backbone small-stem`` caches them beside the finished ones.

Legend: B clips, K sequences of a clip (frames, or 1 for sound), N tokens of a sequence, P prompt
tokens, L tokens of a prefix, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cign.layers.transformer import Block

STEM = "-stem"
# Extra keys and values of some blocks: by block number, each [B, L, D].
Prefixes = Mapping[int, tuple[Tensor, Tensor]]


class TokenBlocks(nn.Module):
    """The transformer of one modality: a stack of blocks and the norm after it.

    Args:
        blocks: In their order; the modules are shared, not copied.
        norm: Applied to the tokens after the last block.
        width: D.
        num_tokens: N; the sequences of a clip do not see each other.
    """

    def __init__(
        self, blocks: nn.ModuleList, norm: nn.Module, *, width: int, num_tokens: int
    ) -> None:
        super().__init__()
        self.blocks, self.norm = blocks, norm
        self.width, self.num_tokens = width, num_tokens

    @property
    def num_blocks(self) -> int:
        """Blocks of the stack."""
        return len(self.blocks)

    def forward(
        self, tokens: Tensor, *, prompts: Tensor | None = None, prefixes: Prefixes | None = None
    ) -> Tensor:
        """Pass tokens through all blocks.

        Args:
            tokens: What the stem gives, shape [B, K * N, D].
            prompts: Tokens put before those of every sequence of their clip, shape [B, P, D].
            prefixes: Keys and values put before the projected ones of some blocks.

        Returns:
            Prompt tokens, then tokens, shape [B, K, P + N, D]. Without prompts and prefixes, and
            flattened to [B, K * N, D], these are the backbone's tokens.
        """
        x = tokens.unflatten(1, (-1, self.num_tokens))  # [B, K, N, D]
        num_clips, num_sequences = x.shape[:2]
        if prompts is not None:
            x = torch.cat([prompts.unsqueeze(1).expand(-1, num_sequences, -1, -1), x], dim=2)
        x = x.flatten(0, 1)
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            prefix = None if prefixes is None else prefixes.get(number)
            if prefix is not None:
                # [B, L, D] -> [B * K, L, D]: each sequence has its own clip's prefix.
                key, value = (part.repeat_interleave(num_sequences, dim=0) for part in prefix)
                prefix = (key, value)
            x = block(x, prefix)
        return self.norm(x).unflatten(0, (num_clips, num_sequences))


class FrozenBlocks(nn.Module):
    """The transformers of both modalities; as part of a method they stay in evaluation mode.

    Args:
        audio: Of the audio tokens.
        visual: Of the visual tokens.
    """

    def __init__(self, audio: TokenBlocks, visual: TokenBlocks) -> None:
        super().__init__()
        self.audio, self.visual = audio, visual

    def train(self, mode: bool = True) -> FrozenBlocks:
        """Stay in evaluation mode."""
        super().train(False)
        return self

    def frozen(self) -> FrozenBlocks:
        """A copy whose weights are not trained."""
        return copy.deepcopy(self).eval().requires_grad_(False)
