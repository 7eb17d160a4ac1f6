"""Prompts: learned tokens and prefixes, chosen for each clip by its own query.

A choice never looks at the other clips of a batch: a vote over a test batch would tell which task
its clips come from.

Legend: B clips, M prompts of the pool, N chosen ones, L tokens of a prompt, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the first prompts and keys (ours): small beside tokens, so that learning sets their size.
INITIAL_STD = 0.02


def _drawn(*shape: int) -> nn.Parameter:
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
        self.keys = _drawn(pool_size, width)
        self.prompts = _drawn(pool_size, length, width)

    def choose(self, query: Tensor, num_chosen: int) -> Tensor:
        """The prompts whose keys are nearest by cosine: [B, D] -> int64 [B, N], nearest first."""
        similarity = F.normalize(query, dim=-1) @ F.normalize(self.keys, dim=-1).T  # [B, M]
        return similarity.topk(num_chosen, dim=-1).indices

    def forward(self, query: Tensor, num_chosen: int) -> tuple[Tensor, Tensor]:
        """Choose prompts.

        Args:
            query: Shape [B, D].
            num_chosen: N.

        Returns:
            The chosen prompts one after another, [B, N * L, D], and their keys, [B, N, D].
        """
        chosen = self.choose(query, num_chosen)
        return self.prompts[chosen].flatten(1, 2), self.keys[chosen]


class TaskPrefixes(nn.Module):
    """General and expert prompts as prefixes of keys and values. DualPrompt, section 4.

    The general prompt serves all tasks; each task adds an expert prompt with a key, and those of
    earlier tasks are no longer trained.

    Args:
        width: D.
        general_blocks: Numbers of the blocks that get the general prompt.
        general_length: Its keys, and values, of one block.
        expert_blocks: Numbers of the blocks that get an expert prompt.
        expert_length: Its keys, and values, of one block.
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
        self.general = _drawn(len(self.general_blocks), 2, general_length, width)
        self.experts = nn.ParameterList()
        self.keys = nn.ParameterList()

    def grow(self) -> None:
        """Add the expert of a task and freeze the others."""
        self.experts.requires_grad_(False)
        self.keys.requires_grad_(False)
        self.experts.append(_drawn(len(self.expert_blocks), 2, self.expert_length, self.width))
        self.keys.append(_drawn(self.width))

    def choose(self, query: Tensor) -> Tensor:
        """The expert whose key is nearest by cosine: [B, D] -> int64 [B]."""
        keys = F.normalize(torch.stack(list(self.keys)), dim=-1)
        return (F.normalize(query, dim=-1) @ keys.T).argmax(dim=-1)

    def forward(self, expert: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        """The prefixes of each block.

        Args:
            expert: For each clip the number of its expert prompt, int64, shape [B].

        Returns:
            By block number keys and values, each [B, L, D]; general ones first where a block has
            both.
        """
        parts: dict[int, list[Tensor]] = {}
        for i, number in enumerate(self.general_blocks):
            parts.setdefault(number, []).append(self.general[i].expand(len(expert), -1, -1, -1))
        experts = torch.stack(list(self.experts))[expert]  # [B, blocks, 2, L, D]
        for i, number in enumerate(self.expert_blocks):
            parts.setdefault(number, []).append(experts[:, i])
        joined = {number: torch.cat(some, dim=2) for number, some in parts.items()}  # [B, 2, L, D]
        return {number: (prefix[:, 0], prefix[:, 1]) for number, prefix in joined.items()}
