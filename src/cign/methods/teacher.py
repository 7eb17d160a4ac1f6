"""Methods on the trunk with three heads that learn from the model before the task."""

from __future__ import annotations

import torch
from torch import Tensor

from cign.methods.base import Batch, Setup
from cign.methods.finetune import Finetune, HeadsOptions
from cign.networks.heads import HeadsNetwork
from cign.networks.training_state import Teacher
from cign.vocabulary import MODALITIES


class WithTeacher(Finetune):
    """A method that learns from the outputs of the model before the task."""

    def __init__(self, setup: Setup, options: HeadsOptions) -> None:
        super().__init__(setup, options)
        self.teacher = Teacher[HeadsNetwork]()

    @property
    def num_old(self) -> int:
        """Classes known before the task."""
        return self.num_classes - self.class_counts[-1]

    def grow(self, num_new: int) -> None:
        """Keep the model as it is, then add the classes."""
        if self.num_classes:
            self.teacher.keep(self.network)
        super().grow(num_new)

    @torch.no_grad()
    def old_logits(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of the model before the task, shape [B, C_old]; C_old = 0 at the first task."""
        if not self.teacher:
            none = batch.targets.new_zeros(len(batch.targets), 0, dtype=torch.float32)
            return dict.fromkeys(MODALITIES, none)
        logits: dict[str, Tensor] = self.teacher.frozen(batch.audio, batch.visual)
        return logits
