"""BiC: distillation with a memory, then a bias correction of the new logits.

Large Scale Incremental Learning, Wu et al., CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.data.tasks import IntArray
from cign.losses.distillation import distillation_loss
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.finetune import HeadsOptions
from cign.methods.output import Output, output_from_logits
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
        held_out: Share of the exemplars of each old class on which the bias layer is fitted, at
            least one clip per class; 0.1 (9 : 1 in the paper).
        bias_training: Training options of the bias layer; ours.
    """

    temperature: float = 2.0
    held_out: float = 0.1
    bias_training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(num_epochs=100, learning_rate=1e-2)
    )


class BiasLayer(nn.Module):
    """q = alpha o + beta on the logits of the classes of one step, for each modality.

    Source: equation 4 of the paper. Each step has one such layer, which is not changed after it
    was fitted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.ParameterDict({m: nn.Parameter(torch.ones(())) for m in MODALITIES})
        self.shift = nn.ParameterDict({m: nn.Parameter(torch.zeros(())) for m in MODALITIES})

    def forward(self, logits: Tensor, modality: str) -> Tensor:
        """Correct the logits of the step in a modality, shape [B, C_step]."""
        return self.scale[modality] * logits + self.shift[modality]


def hold_out(
    clips: IntArray, classes: IntArray, counts: dict[int, int], seed: int
) -> tuple[IntArray, IntArray]:
    """Hold out clips of each class.

    The rank of a clip is drawn from its index alone, so a clip that was held out is likely to be
    held out again at later steps.

    Args:
        clips: Clip indices, shape [n].
        classes: The class of each clip, shape [n].
        counts: Number of clips of each class to hold out.
        seed: Seed of the ranks.

    Returns:
        The remaining clips and the held-out clips, both in the given order.
    """
    rank = np.array([stream(seed, 0xB1C, int(clip)).random() for clip in clips])
    held = np.zeros(len(clips), dtype=np.bool_)
    for c, count in counts.items():
        members = np.flatnonzero(classes == c)
        held[members[np.argsort(rank[members], kind="stable")[:count]]] = True
    return clips[~held], clips[held]


@register_method("bic")
class Bic(WithTeacher):
    """Two stages per task: the network with distillation, then a bias layer on held-out clips."""

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    refused_streams: ClassVar[Mapping[str, str]] = {
        "online": "its bias layer is fitted in many passes over held-out clips: use --stream "
        "tasks, or another method, for example er",
    }
    Options: ClassVar[type] = BicOptions
    options: BicOptions

    def __init__(self, setup: Setup, options: BicOptions) -> None:
        super().__init__(setup, options)
        self.bias = nn.ModuleList()

    def grow(self, num_new: int) -> None:
        """See `Method`; the first step has no earlier classes, so its layer is not trained."""
        self.bias.requires_grad_(False)
        self.bias.append(BiasLayer().requires_grad_(self.num_classes > 0))
        super().grow(num_new)

    def phases(self, data: TaskData) -> list[Phase]:
        """Train the network on the clips not held out, then the bias layer on the held-out ones."""
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
        """Split exemplars and new clips, each into (training, held out), balanced over classes."""
        assert len(data.memory), "bic is not run without a memory"
        old_classes, new_classes = data.class_of(data.memory), data.class_of(data.new)
        sizes = np.bincount(old_classes, minlength=data.num_old)
        counts = {c: max(1, int(self.options.held_out * n)) for c, n in enumerate(sizes) if n}
        # As many of each new class, but leave at least one clip for training.
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
        # In the first stage, the layer of this step is not fitted yet.
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
        """Cross-entropy of the corrected logits; the network is frozen."""
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
            logits: Logits of all classes or of the first ones, shape [B, C].
            modality: Modality of the logits.
            num_steps: Number of steps that have a fitted layer; None for all.

        Returns:
            Shape as ``logits``.
        """
        num_steps = len(self.class_counts) if num_steps is None else num_steps
        sizes = self.class_counts[:num_steps]
        *parts, rest = logits.split([*sizes, logits.shape[1] - sum(sizes)], dim=1)
        corrected = [layer(part, modality) for layer, part in zip(self.bias, parts, strict=False)]
        return torch.cat([*corrected, rest], dim=1)

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the corrected logits of each modality."""
        logits = self.network(audio, visual)
        return output_from_logits(
            {modality: self.correct(logits[modality], modality) for modality in MODALITIES}
        )
