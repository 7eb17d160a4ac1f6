"""L2P: a pool of prompts, selected for each clip by key and prepended to its tokens.

Learning to Prompt for Continual Learning, Wang et al., CVPR 2022. docs/methods/l2p.md
lists what is theirs and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from cign.errors import InputError, one_of
from cign.methods.base import Setup
from cign.methods.options import MethodOptions
from cign.methods.phases import TrainingOptions
from cign.methods.prompting import PromptMethod
from cign.methods.registry import register_method
from cign.networks.prompts import PromptPool


@dataclass(frozen=True, kw_only=True)
class L2pOptions(MethodOptions):
    """Options of `l2p`.

    Attributes:
        training: Optimizer and schedule. Adam, constant [release]; the values are ours.
        pool_size: Number of prompts in the pool of each modality; 10 [release, CIFAR-100].
        num_chosen: Number of prompts selected for a clip; 4 [release, CIFAR-100].
        prompt_length: Tokens per prompt; 5 (ours; the release uses 10 with 197 tokens, a clip here
            has 12 and 36).
        key_weight: Weight of the key losses; 1 [release].
        pooled: Features are the mean output of the ``prompts`` (paper) or of the ``tokens``.
    """

    training: TrainingOptions = field(default_factory=lambda: TrainingOptions(learning_rate=5e-3))
    pool_size: int = 10
    num_chosen: int = 4
    prompt_length: int = 5
    key_weight: float = 1.0
    pooled: Literal["prompts", "tokens"] = "prompts"


@register_method("l2p")
class L2p(PromptMethod):
    """Prompts from one pool per modality."""

    Options: ClassVar[type] = L2pOptions
    options: L2pOptions

    def __init__(self, setup: Setup, options: L2pOptions) -> None:
        super().__init__(setup, options)
        for name in ("pool_size", "num_chosen", "prompt_length"):
            if getattr(options, name) < 1:
                raise InputError(
                    "bad-value", f"{name} {getattr(options, name)} is too small: use 1 or more"
                )
        if options.num_chosen > options.pool_size:
            raise InputError(
                "bad-value",
                f"num_chosen {options.num_chosen} is more than the pool holds: use at most "
                f"{options.pool_size}, or a larger pool_size",
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
