"""WA: distillation with a memory, then the weights of new classes are aligned with the old ones.

Maintaining Discrimination and Fairness in Class Incremental Learning, Zhao et al., CVPR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cign.layers.growing import GrowingLinear
from cign.losses.distillation import distillation_loss
from cign.methods.base import Batch, Losses, TaskData
from cign.methods.finetune import HeadsOptions
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class WaOptions(HeadsOptions):
    """Options of `wa`.

    Attributes:
        temperature: T of the distillation; 2 (the paper).
        clip_weights: Whether negative weights of the heads are set to zero after each step, as in
            the paper. Its features are never negative, so that a longer weight vector means a
            larger logit; ours are normalised and have both signs, and the default is False (ours).
    """

    temperature: float = 2.0
    clip_weights: bool = False


def alignment_factor(old: Tensor, new: Tensor) -> Tensor:
    """Mean norm of the weight vectors of old classes over that of new classes, a scalar.

    Source: gamma of the paper. A mean of zero for the new classes gives a finite factor (ours).

    Args:
        old: Weight vectors of old classes, shape [C_old, D].
        new: Weight vectors of new classes, shape [C_new, D].
    """
    smallest = torch.finfo(new.dtype).tiny
    return old.norm(dim=1).mean() / new.norm(dim=1).mean().clamp(min=smallest)


@register_method("wa")
class Wa(WithTeacher):
    """Distillation weighted by the fraction of old classes, and weight aligning after each task."""

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    Options: ClassVar[type] = WaOptions
    options: WaOptions

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Cross-entropy over all classes and distillation of the old ones, for each modality."""
        self._clip_weights()
        logits, old = self.network(batch.audio, batch.visual), self.old_logits(batch)
        share = self.num_old / self.num_classes  # lambda
        losses = Losses()
        for modality in MODALITIES:
            now = logits[modality]
            losses[modality] = (1.0 - share) * F.cross_entropy(now, batch.labels)
            if self.num_old:
                distance = distillation_loss(old[modality], now, self.options.temperature)
                losses[f"{modality}_distillation"] = share * distance
        return losses

    @torch.no_grad()
    def after_task(self, data: TaskData) -> None:
        """Scale the weight vectors of the new classes in each head; biases stay."""
        self._clip_weights()
        if data.num_old == 0:
            return
        for modality in MODALITIES:
            *old, new = self._head(modality).weights
            new.mul_(alignment_factor(torch.cat(old), new))

    @torch.no_grad()
    def _clip_weights(self) -> None:
        """Set weights to zero that the last step made negative."""
        if self.options.clip_weights:
            for modality in MODALITIES:
                for chunk in self._head(modality).weights:
                    chunk.clamp_(min=0.0)

    def _head(self, modality: str) -> GrowingLinear:
        """The head of a modality."""
        head = self.network.heads[modality]
        assert isinstance(head, GrowingLinear)
        return head
