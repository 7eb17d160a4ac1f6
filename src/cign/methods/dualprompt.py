"""DualPrompt: a general prompt and one expert prompt per task, as prefixes of keys and values.

DualPrompt: Complementary Prompting for Rehearsal-free Continual Learning, Wang et al., ECCV 2022.
docs/methods/dualprompt.md lists what is theirs and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from cign.errors import InputError
from cign.methods.base import Setup
from cign.methods.options import MethodOptions
from cign.methods.phases import TrainingOptions
from cign.methods.prompting import PromptMethod
from cign.methods.registry import register_method
from cign.networks.prompts import TaskPrefixes


@dataclass(frozen=True, kw_only=True)
class DualPromptOptions(MethodOptions):
    """Options of `dualprompt`.

    Attributes:
        training: Optimizer and schedule. Adam, constant [release]; the values are ours.
        general_blocks: Indices of the blocks with the general prompt; the first ones (paper: two of
            12).
        general_length: Number of its keys, and of its values, in each block; 5 [release].
        expert_blocks: Indices of the blocks with expert prompts; the next ones (paper: three of
            12).
        expert_length: Number of their keys, and values, in each block; 5 [release, CIFAR-100].
        key_weight: Weight of the key losses; 1 [release].
    """

    training: TrainingOptions = field(default_factory=lambda: TrainingOptions(learning_rate=5e-3))
    general_blocks: tuple[int, ...] = (0,)
    general_length: int = 5
    expert_blocks: tuple[int, ...] = (1,)
    expert_length: int = 5
    key_weight: float = 1.0


@register_method("dualprompt")
class DualPrompt(PromptMethod):
    """Both kinds of prefixes for each modality; features are the mean of the output tokens."""

    Options: ClassVar[type] = DualPromptOptions
    options: DualPromptOptions

    def __init__(self, setup: Setup, options: DualPromptOptions) -> None:
        super().__init__(setup, options)
        self._check(options)
        self.prefixes = nn.ModuleDict(
            {
                modality: TaskPrefixes(
                    self.transformer(modality).width,
                    options.general_blocks,
                    options.general_length,
                    options.expert_blocks,
                    options.expert_length,
                )
                for modality in ("audio", "visual")
            }
        )

    def _check(self, options: DualPromptOptions) -> None:
        """Reject invalid lengths and block indices."""
        num_blocks = min(self.blocks.audio.num_blocks, self.blocks.visual.num_blocks)
        for name in ("general", "expert"):
            length = getattr(options, f"{name}_length")
            if length < 1:
                raise InputError("bad-value", f"{name}_length {length} is too small: use 1 or more")
            numbers = getattr(options, f"{name}_blocks")
            if not all(0 <= number < num_blocks for number in numbers):
                raise InputError(
                    "bad-value",
                    f"{name}_blocks {list(numbers)} are not all among the backbone's: use numbers "
                    f"from 0 to {num_blocks - 1}",
                )
        if not options.expert_blocks:
            raise InputError(
                "bad-value", "expert_blocks is empty: name at least one block, for example 1"
            )

    def of(self, modality: str) -> TaskPrefixes:
        """The prefixes of a modality."""
        prefixes = self.prefixes[modality]
        assert isinstance(prefixes, TaskPrefixes)
        return prefixes

    def grow(self, num_new: int) -> None:
        """Add the task's expert prompt and key."""
        for modality in ("audio", "visual"):
            self.of(modality).grow()
        super().grow(num_new)

    def read(self, modality: str, tokens: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """See `PromptMethod`; the expert is that of the task in training, else the nearest one."""
        prefixes = self.of(modality)
        if self.training:
            expert = torch.full((len(query),), len(prefixes.keys) - 1, device=query.device)
        else:
            expert = prefixes.choose(query)
        out = self.transformer(modality)(tokens, prefixes=prefixes(expert))  # [B, K, N, D]
        keys = torch.stack(list(prefixes.keys))[expert].unsqueeze(1)
        return out.flatten(1, 2).mean(dim=1), keys
