"""L2P: a pool of prompts, chosen for each clip by key and put before its tokens.

Learning to Prompt for Continual Learning, Wang et al., CVPR 2022. What is theirs and what is
ours: docs/methods/l2p.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from cign.errors import InputError, one_of
from cign.methods.base import Setup
from cign.methods.phases import TrainingOptions
from cign.methods.prompting import PromptMethod
from cign.methods.registry import register_method
from cign.networks.prompts import PromptPool


@dataclass(frozen=True, kw_only=True)
class L2pOptions:
    """Options of `l2p`.

    Attributes:
        training: Optimizer and schedule. Adam, constant [release]; the figures are ours.
        pool_size: Prompts of each modality's pool; 10 [release, CIFAR-100].
        num_chosen: Prompts chosen for a clip; 4 [release, CIFAR-100].
        prompt_length: Tokens of a prompt; 5 (ours; the release takes 10 beside 197 tokens, a clip
            has 12 and 36 here).
        key_weight: Weight of the key losses; 1 [release].
        pooled: Features are the mean of the ``prompts``' outputs (paper) or of the ``tokens``'.
    """

    training: TrainingOptions = field(default_factory=lambda: TrainingOptions(learning_rate=5e-3))
    pool_size: int = 10
    num_chosen: int = 4
    prompt_length: int = 5
    key_weight: float = 1.0
    pooled: Literal["prompts", "tokens"] = "prompts"


@register_method("l2p")
class L2p(PromptMethod):
    """Prompts from a pool, one pool for each modality."""

    Options: ClassVar[type] = L2pOptions
    options: L2pOptions

    def __init__(self, setup: Setup, options: L2pOptions) -> None:
        super().__init__(setup, options)
        for name in ("pool_size", "num_chosen", "prompt_length"):
            if getattr(options, name) < 1:
                raise InputError(f"{name} {getattr(options, name)} is too small: use 1 or more")
        if options.num_chosen > options.pool_size:
            raise InputError(
                f"num_chosen {options.num_chosen} is more than the pool holds: use at most "
                f"{options.pool_size}, or a larger pool_size"
            )
        if options.pooled not in ("prompts", "tokens"):
            raise one_of(options.pooled, ("prompts", "tokens"), "pooled")
        self.pools = nn.ModuleDict(
            {
                modality: PromptPool(
                    options.pool_size, options.prompt_length, self.transformer(modality).width
                )
                for modality in ("audio", "visual")
            }
        )

    def read(self, modality: str, tokens: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """See `PromptMethod`."""
        prompts, keys = self.pools[modality](query, self.options.num_chosen)
        out = self.transformer(modality)(tokens, prompts=prompts)  # [B, K, P + N, D]
        num_prompts = prompts.shape[1]
        if self.options.pooled == "prompts":
            out = out[:, :, :num_prompts]
        else:
            out = out[:, :, num_prompts:]
        return out.flatten(1, 2).mean(dim=1), keys
