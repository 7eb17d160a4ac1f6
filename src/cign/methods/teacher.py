"""Base of methods with trunk and three heads that distil from the model before the task."""

from __future__ import annotations

import torch
from torch import Tensor

from cign.methods.base import Batch, Setup
from cign.methods.finetune import Finetune, HeadsOptions
from cign.methods.old_outputs import OldOutputs, Outputs
from cign.networks.heads import HeadsNetwork
from cign.networks.training_state import Teacher
from cign.vocabulary import MODALITIES


class WithTeacher(Finetune):
    """A method that uses the outputs of the model before the task as targets."""

    def __init__(self, setup: Setup, options: HeadsOptions) -> None:
        super().__init__(setup, options)
        self.teacher = Teacher[HeadsNetwork]()
        self.old_outputs = OldOutputs(self, self.teacher, self._compute_old)

    def grow(self, num_new: int) -> None:
        """Copy the current model as the teacher, then add the classes."""
        if self.num_classes:
            self.teacher.keep(self.network)
        super().grow(num_new)

    def old_logits(self, batch: Batch) -> dict[str, Tensor]:
        """Logits of the model before the task, shape [B, C_old]; C_old = 0 in the first task."""
        if not self.teacher:
            empty = batch.targets.new_zeros(len(batch.targets), 0, dtype=torch.float32)
            return dict.fromkeys(MODALITIES, empty)
        return self.old_outputs.of(batch)

    def _compute_old(self, batch: Batch) -> Outputs:
        logits: Outputs = self.teacher.frozen(batch.audio, batch.visual)
        return logits
