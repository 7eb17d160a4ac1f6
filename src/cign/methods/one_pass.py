"""Base of methods that absorb each clip once, without gradients.

End to end, the encoders are trained on the first task and then frozen, see
`cign.methods.adaptation`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from cign.errors import InputError
from cign.methods.adaptation import ADAPTATION, Adaptation
from cign.methods.base import Batch, Losses, Method, Setup, TaskData
from cign.methods.phases import Phase, TrainingOptions


class OnePass(Method):
    """A method with one pass over each task's clips, which it absorbs.

    Its options have ``batch_size``, the clips absorbed at a time, and ``adaptation``, the training
    of the encoders on the first task.
    """

    uses_memory: ClassVar[bool] = False
    order_matters: ClassVar[bool] = False
    seed_matters: ClassVar[bool] = False
    needs_float64: ClassVar[bool] = True
    refused_streams: ClassVar[Mapping[str, str]] = {
        "online end-to-end": "it reads the clips of the first task twice to train encoders: use "
        "--regime frozen",
    }

    def __init__(self, setup: Setup, options: Any) -> None:
        super().__init__(setup, options)
        self.adaptation = None if setup.backbone is None else Adaptation(setup)

    @classmethod
    def check_regime(cls, options: Any, regime: str) -> None:
        """See `Method`."""
        if regime == "frozen" and options.adaptation != ADAPTATION:
            raise InputError(
                "conflicting-options",
                "adaptation trains encoders and would be ignored on cached tokens: leave it out, "
                "or use --regime end-to-end",
            )

    def grow(self, num_new: int) -> None:
        """Give the heads of the adaptation outputs for the classes of the first task."""
        if self.adaptation is not None and self.num_classes == 0:
            self.adaptation.grow(num_new)
        super().grow(num_new)

    def phases(self, data: TaskData) -> list[Phase]:
        """One pass over the new clips without optimisation; adaptation first in the first task."""
        once = TrainingOptions(num_epochs=1, batch_size=self.options.batch_size)
        phases = [Phase(name="statistics", indices=data.new, options=once, updates=False)]
        if self.adaptation is not None and data.num_old == 0:
            options = self.options.adaptation
            of_classes = data.new[data.class_of(data.new) >= 0]
            phases.insert(0, Phase(name="adaptation", indices=of_classes, options=options))
        return phases

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Absorb the clips, or train the encoders on them."""
        if phase.updates and self.adaptation is not None:
            return self.adaptation.losses(batch)
        self.eval()  # no dropout or augmentation in the sums
        with torch.no_grad():
            self.absorb(batch)
        return None

    @abstractmethod
    def absorb(self, batch: Batch) -> None:
        """Add clips to the sums."""

    def tokens(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of a batch: cached tokens, or those of the adapted encoders (`Adaptation`)."""
        if self.adaptation is None:
            return audio, visual
        return self.adaptation.encode(audio, visual)

    def forget_column(self, index: int) -> None:
        """Count one class less in the task of a class that is removed."""
        last = 0
        for task, count in enumerate(self.class_counts):
            last += count
            if index < last:
                self.class_counts[task] -= 1
                return
