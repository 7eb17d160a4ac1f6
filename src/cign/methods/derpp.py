"""DER++: replay with the logits that the model had when an exemplar was stored.

Dark Experience for General Continual Learning: a Strong, Simple Baseline, Buzzega et al., NeurIPS
2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cign.data.tasks import IntArray
from cign.losses.classification import clip_losses
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.finetune import HeadsOptions
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.methods.replay import WithReplay
from cign.networks.stored_logits import StoredLogits
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class DerppOptions(HeadsOptions):
    """Options of `derpp`.

    Attributes:
        alpha: Weight of the squared distance from the stored logits; 0.2 (the authors' code for
            Sequential CIFAR-10 with 500 exemplars).
        beta: Weight of the cross-entropy of the exemplars; 0.5 (as alpha).
    """

    alpha: float = 0.2
    beta: float = 0.5


@register_method("derpp")
class Derpp(WithReplay):
    """Replay of exemplars with their stored logits and, in a second draw, with their labels."""

    num_draws: ClassVar[int] = 2
    Options: ClassVar[type] = DerppOptions
    options: DerppOptions

    def __init__(self, setup: Setup, options: DerppOptions) -> None:
        super().__init__(setup, options)
        self.stored = StoredLogits(len(MODALITIES))

    @property
    def state_bytes(self) -> int:
        """Bytes of the stored logits."""
        return self.stored.num_bytes

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """See `Method`."""
        super().make_room(state)
        prefix = "stored."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.stored.make_room(own)

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """The three terms of equation 6 for each modality; the draws are those of algorithm 2."""
        logits = self.network(batch.audio, batch.visual)
        new, first, second = self.part_weights(batch, phase)
        rows = self.stored.rows(batch.indices) if len(self.stored) else None
        losses = Losses()
        for head, modality in enumerate(MODALITIES):
            now = logits[modality]
            of_clips = clip_losses(now, batch.targets, multi_label=self.setup.multi_label)
            losses[modality] = (new * of_clips).mean()
            if rows is not None:
                distances = self.stored.distances(now, head, rows)
                losses[f"{modality}_logits"] = self.options.alpha * (first * distances).mean()
            if self.num_old:
                losses[f"{modality}_replay"] = self.options.beta * (second * of_clips).mean()
        return losses

    @torch.no_grad()
    def after_memory(self, data: TaskData) -> None:
        """Store the logits of exemplars that are new in the memory."""
        self.network.eval()
        clips = self.stored.missing(data.memory)
        self.stored.update(data.memory, clips, self._logits_of(data, clips))

    def _logits_of(self, data: TaskData, clips: IntArray) -> Tensor:
        """Current logits of clips, shape [m, 3, C]."""
        parts = [self.stored.logits.new_zeros(0, len(MODALITIES), self.num_classes)]
        for batch in data.batches(clips):
            logits = self.network(batch.audio, batch.visual)
            parts.append(torch.stack([logits[modality] for modality in MODALITIES], dim=1))
        return torch.cat(parts)
