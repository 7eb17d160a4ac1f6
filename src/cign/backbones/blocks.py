"""Frozen transformer blocks for prompt methods, and their input tokens.

Prompts change the output of a frozen transformer, so prompt methods cannot use cached outputs. They
use the input tokens of the transformer. A backbone ``NAME-stem`` provides them, so that
``cign prepare --backbone small-stem`` caches them in addition to the output tokens.

Legend: B clips, K sequences of a clip (frames, or 1 for audio), N tokens of a sequence, P prompt
tokens, L tokens of a prefix, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cign.layers.transformer import Block

STEM = "-stem"
# Extra keys and values by block index, each [B, L, D].
Prefixes = Mapping[int, tuple[Tensor, Tensor]]


class TokenBlocks(nn.Module):
    """The transformer of one modality: a stack of blocks and a final norm.

    Args:
        blocks: Blocks in order; the modules are shared, not copied.
        norm: Norm applied to the tokens after the last block.
        width: D.
        num_tokens: N; there is no attention between the sequences of a clip.
    """

    def __init__(
        self, blocks: nn.ModuleList, norm: nn.Module, *, width: int, num_tokens: int
    ) -> None:
        super().__init__()
        self.blocks, self.norm = blocks, norm
        self.width, self.num_tokens = width, num_tokens

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def forward(
        self, tokens: Tensor, *, prompts: Tensor | None = None, prefixes: Prefixes | None = None
    ) -> Tensor:
        """Pass tokens through all blocks.

        Args:
            tokens: Stem tokens, shape [B, K * N, D].
            prompts: Tokens prepended to every sequence of their clip, shape [B, P, D].
            prefixes: Keys and values prepended to the projected ones of some blocks.

        Returns:
            Prompt tokens, then tokens, shape [B, K, P + N, D]. Without prompts and prefixes, and
            flattened to [B, K * N, D], they equal the tokens of the backbone.
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
                # [B, L, D] -> [B * K, L, D]: each sequence has the prefix of its clip.
                key, value = (part.repeat_interleave(num_sequences, dim=0) for part in prefix)
                prefix = (key, value)
            x = block(x, prefix)
        return self.norm(x).unflatten(0, (num_clips, num_sequences))


class FrozenBlocks(nn.Module):
    """The transformers of both modalities, which always stay in evaluation mode.

    Args:
        audio: Transformer of the audio tokens.
        visual: Transformer of the visual tokens.
    """

    def __init__(self, audio: TokenBlocks, visual: TokenBlocks) -> None:
        super().__init__()
        self.audio, self.visual = audio, visual

    def train(self, mode: bool = True) -> FrozenBlocks:
        """Ignore ``mode`` and stay in evaluation mode."""
        super().train(False)
        return self

    def frozen(self) -> FrozenBlocks:
        """A copy with frozen weights."""
        return copy.deepcopy(self).eval().requires_grad_(False)
