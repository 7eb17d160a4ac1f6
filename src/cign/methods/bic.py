"""BiC: distillation with a memory, then two numbers that take the bias out of the new logits.

Large Scale Incremental Learning, Wu et al., CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.data.tasks import IntArray
from cign.losses.distillation import distillation_loss
from cign.methods.base import Batch, Losses, Output, Setup, TaskData, output_from_logits
from cign.methods.finetune import HeadsOptions
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.utils.seeding import stream
from cign.vocabulary import MODALITIES

_BIAS_PHASE = "bias"


@dataclass(frozen=True, kw_only=True)
class BicOptions(HeadsOptions):
    """Options of `bic`.

    Attributes:
        temperature: T of the distillation; 2 (the paper).
        held_out: Share of each old class's exemplars that the bias layer is fitted on, at least
            one clip a class; 0.1 (the paper's 9 : 1).
        bias_training: How it is fitted; ours.
    """

    temperature: float = 2.0
    held_out: float = 0.1
    bias_training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(num_epochs=100, learning_rate=1e-2)
    )


class BiasLayer(nn.Module):
    """q = alpha o + beta on the logits of one step's classes, for each reading.

    Source: equation 4 of the paper. One such layer belongs to each step and stays as it was
    fitted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.ParameterDict({r: nn.Parameter(torch.ones(())) for r in MODALITIES})
        self.shift = nn.ParameterDict({r: nn.Parameter(torch.zeros(())) for r in MODALITIES})

    def forward(self, logits: Tensor, modality: str) -> Tensor:
        """Correct the step's logits of a reading, shape [B, C_step]."""
        return self.scale[modality] * logits + self.shift[modality]


def hold_out(
    clips: IntArray, classes: IntArray, counts: dict[int, int], seed: int
) -> tuple[IntArray, IntArray]:
    """Set clips of each class apart.

    A clip's rank is drawn from its index alone, so that a clip that was held out tends to be held
    out again at later steps.

    Args:
        clips: Clip indices, shape [n].
        classes: The class of each, shape [n].
        counts: How many of each class to set apart.
        seed: Of the ranks.

    Returns:
        The rest and the clips set apart, both in the order given.
    """
    rank = np.array([stream(seed, 0xB1C, int(clip)).random() for clip in clips])
    apart = np.zeros(len(clips), dtype=np.bool_)
    for c, count in counts.items():
        members = np.flatnonzero(classes == c)
        apart[members[np.argsort(rank[members], kind="stable")[:count]]] = True
    return clips[~apart], clips[apart]


@register_method("bic")
class Bic(WithTeacher):
    """Two stages a task: the network with distillation, then one bias layer on clips held out."""

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    Options: ClassVar[type] = BicOptions
    options: BicOptions

    def __init__(self, setup: Setup, options: BicOptions) -> None:
        super().__init__(setup, options)
        self.bias = nn.ModuleList()

    def grow(self, num_new: int) -> None:
        """See `Method`. The first step has nothing to be biased against: its layer stays as is."""
        self.bias.requires_grad_(False)
        self.bias.append(BiasLayer().requires_grad_(self.num_classes > 0))
        super().grow(num_new)

    def phases(self, data: TaskData) -> list[Phase]:
        """Training on what is not held out, then the step's bias layer on what is."""
        if data.task == 0:
            return [Phase(name="train", indices=data.new, options=self.options.training)]
        (old, held_old), (new, held_new) = self._split(data)
        return [
            Phase(
                name="train",
                indices=np.concatenate([old, new]),
                options=self.options.training,
                trained=("network.",),
            ),
            Phase(
                name=_BIAS_PHASE,
                indices=np.concatenate([held_old, held_new]),
                options=self.options.bias_training,
                trained=(f"bias.{data.task}.",),
            ),
        ]

    def _split(self, data: TaskData) -> tuple[tuple[IntArray, IntArray], ...]:
        """Exemplars and new clips, each as (to train on, held out), balanced over classes."""
        assert len(data.memory), "bic is not run without a memory"
        old_classes, new_classes = data.class_of(data.memory), data.class_of(data.new)
        sizes = np.bincount(old_classes, minlength=data.num_old)
        counts = {c: max(1, int(self.options.held_out * n)) for c, n in enumerate(sizes) if n}
        # As many of each new class; but one clip of it has to be trained on.
        most = max(counts.values())
        new_sizes = np.bincount(new_classes, minlength=data.num_classes)
        new_counts = {
            c: min(most, int(new_sizes[c]) - 1)
            for c in range(data.num_old, data.num_classes)
            if new_sizes[c] > 1
        }
        return (
            hold_out(data.memory, old_classes, counts, data.seed),
            hold_out(data.new, new_classes, new_counts, data.seed),
        )

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """The loss of the stage."""
        if phase.name == _BIAS_PHASE:
            return self._fit_bias(batch)
        logits, old = self.network(batch.audio, batch.visual), self.old_logits(batch)
        share = self.num_old / self.num_classes  # lambda = n / (n + m)
        # In the first stage the step's own layer does not exist yet.
        earlier = len(self.class_counts) - 1
        losses = Losses()
        for modality in MODALITIES:
            now = self.correct(logits[modality], modality, earlier)
            losses[modality] = (1.0 - share) * F.cross_entropy(now, batch.labels)
            if self.num_old:
                before = self.correct(old[modality], modality, earlier)
                distance = distillation_loss(before, now, self.options.temperature)
                losses[f"{modality}_distillation"] = share * distance
        return losses

    def _fit_bias(self, batch: Batch) -> Losses:
        """Cross-entropy of the corrected logits; the network stands still."""
        self.network.eval()
        with torch.no_grad():
            logits = self.network(batch.audio, batch.visual)
        return {
            modality: F.cross_entropy(self.correct(logits[modality], modality), batch.labels)
            for modality in MODALITIES
        }

    def correct(self, logits: Tensor, modality: str, num_steps: int | None = None) -> Tensor:
        """Apply each step's bias layer to the logits of its classes.

        Args:
            logits: Shape [B, C], or the first classes of it.
            modality: Which reading they are of.
            num_steps: How many steps have a layer by now; None is all of them.

        Returns:
            Shape as ``logits``.
        """
        num_steps = len(self.class_counts) if num_steps is None else num_steps
        sizes = self.class_counts[:num_steps]
        *parts, rest = logits.split([*sizes, logits.shape[1] - sum(sizes)], dim=1)
        corrected = [layer(part, modality) for layer, part in zip(self.bias, parts, strict=False)]
        return torch.cat([*corrected, rest], dim=1)

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the corrected logits of each reading."""
        logits = self.network(audio, visual)
        return output_from_logits(
            {modality: self.correct(logits[modality], modality) for modality in MODALITIES}
        )
