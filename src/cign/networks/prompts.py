"""Prompts: learned tokens and prefixes, selected for each clip by its own query.

The selection does not depend on other clips of a batch: a vote over a test batch would leak the
task of its clips.

Legend: B clips, M prompts of the pool, N chosen ones, L tokens of a prompt, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Initial prompts and keys (ours) are small compared with tokens: training sets their scale.
INITIAL_STD = 0.02


def _random_parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * INITIAL_STD)


class PromptPool(nn.Module):
    """A pool of prompts with keys. L2P, Wang et al., CVPR 2022, section 4.2.

    Args:
        pool_size: M.
        length: L.
        width: D.
    """

    def __init__(self, pool_size: int, length: int, width: int) -> None:
        super().__init__()
        self.keys = _random_parameter(pool_size, width)
        self.prompts = _random_parameter(pool_size, length, width)

    def choose(self, query: Tensor, num_chosen: int) -> Tensor:
        """Indices of the prompts with the nearest keys by cosine: [B, D] -> sorted int64 [B, N]."""
        similarity = F.normalize(query, dim=-1) @ F.normalize(self.keys, dim=-1).T  # [B, M]
        return similarity.topk(num_chosen, dim=-1).indices

    def forward(self, query: Tensor, num_chosen: int) -> tuple[Tensor, Tensor]:
        """Select prompts.

        Args:
            query: Queries, shape [B, D].
            num_chosen: N.

        Returns:
            The selected prompts, concatenated, [B, N * L, D], and their keys, [B, N, D].
        """
        chosen = self.choose(query, num_chosen)
        return self.prompts[chosen].flatten(1, 2), self.keys[chosen]


class TaskPrefixes(nn.Module):
    """General and expert prompts as prefixes of keys and values. DualPrompt, section 4.

    All tasks share the general prompt. Each task adds an expert prompt with a key and freezes those
    of earlier tasks.

    Args:
        width: D.
        general_blocks: Indices of the blocks with the general prompt.
        general_length: Number of its keys, and of its values, in each block.
        expert_blocks: Indices of the blocks with an expert prompt.
        expert_length: Number of its keys, and of its values, in each block.
    """

    def __init__(
        self,
        width: int,
        general_blocks: Sequence[int],
        general_length: int,
        expert_blocks: Sequence[int],
        expert_length: int,
    ) -> None:
        super().__init__()
        self.width, self.expert_length = width, expert_length
        self.general_blocks, self.expert_blocks = tuple(general_blocks), tuple(expert_blocks)
        # [blocks, key or value, L, D]
        self.general = _random_parameter(len(self.general_blocks), 2, general_length, width)
        self.experts = nn.ParameterList()
        self.keys = nn.ParameterList()

    def grow(self) -> None:
        """Add the expert prompt of a task and freeze the others."""
        self.experts.requires_grad_(False)
        self.keys.requires_grad_(False)
        shape = (len(self.expert_blocks), 2, self.expert_length, self.width)
        self.experts.append(_random_parameter(*shape))
        self.keys.append(_random_parameter(self.width))

    def choose(self, query: Tensor) -> Tensor:
        """Index of the expert with the nearest key by cosine: [B, D] -> int64 [B]."""
        keys = F.normalize(torch.stack(list(self.keys)), dim=-1)
        return (F.normalize(query, dim=-1) @ keys.T).argmax(dim=-1)

    def forward(self, expert: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        """The prefixes of each block.

        Args:
            expert: Index of the expert prompt of each clip, int64, shape [B].

        Returns:
            Keys and values by block index, each [B, L, D]; general ones come first in a block with
            both.
        """
        parts: dict[int, list[Tensor]] = {}
        for i, number in enumerate(self.general_blocks):
            parts.setdefault(number, []).append(self.general[i].expand(len(expert), -1, -1, -1))
        experts = torch.stack(list(self.experts))[expert]  # [B, blocks, 2, L, D]
        for i, number in enumerate(self.expert_blocks):
            parts.setdefault(number, []).append(experts[:, i])
        # [B, 2, L, D]
        joined = {number: torch.cat(pieces, dim=2) for number, pieces in parts.items()}
        return {number: (prefix[:, 0], prefix[:, 1]) for number, prefix in joined.items()}
