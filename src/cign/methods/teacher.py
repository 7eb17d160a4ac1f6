"""The trunk with three heads beside a frozen copy of itself from before the task."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from cign.errors import InputError
from cign.methods.base import Batch, Setup
from cign.methods.finetune import Finetune, HeadsOptions
from cign.models.heads import READINGS, HeadsNetwork


def refuse_multi_label(setup: Setup, name: str, remedy: str = "use finetune or ewc") -> None:
    """Refuse clips of several labels for a method that has no form for them.

    Raises:
        InputError: If clips may carry several labels.
    """
    if setup.multi_label:
        raise InputError(
            f"{name} takes clips of one label, this store has some of several: {remedy}"
        )


class WithTeacher(Finetune):
    """A method that learns from the outputs of the model before the task."""

    def __init__(self, setup: Setup, options: HeadsOptions) -> None:
        super().__init__(setup, options)
        self.teacher: HeadsNetwork | None = None

    @property
    def num_old(self) -> int:
        """Classes known before the task."""
        return self.num_classes - self.class_counts[-1]

    def grow(self, num_new: int) -> None:
        """Keep the model as it is, then add the classes."""
        if self.num_classes:
            self.teacher = copy.deepcopy(self.network).requires_grad_(False)
        super().grow(num_new)

    @torch.no_grad()
    def old_logits(self, batch: Batch) -> dict[str, Tensor]:
        """What the model before the task says, shape [B, C_old]; C_old = 0 at the first task."""
        if self.teacher is None:
            none = batch.targets.new_zeros(len(batch.targets), 0, dtype=torch.float32)
            return dict.fromkeys(READINGS, none)
        self.teacher.eval()
        logits: dict[str, Tensor] = self.teacher(batch.audio, batch.visual)
        return logits
