"""Grouping with trained encoders and a memory of exemplars, a method of our own.

It is the gradient-based counterpart of `cign_analytic`: class tokens score every token of a clip,
and an assignment over the tokens pools the scores. Its losses are robust to class imbalance:
count-adjusted cross-entropy over all classes, for both modalities and their weighted sum, and
distillation of the scores of old classes. docs/methods/cign_replay.md lists the sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cign.errors import InputError
from cign.losses.adjusted import count_adjusted_loss
from cign.losses.distillation import distillation_loss
from cign.methods.base import Batch, GradientMethod, Losses, Setup, TaskData
from cign.methods.old_outputs import OldOutputs, Outputs
from cign.methods.options import MethodOptions
from cign.methods.output import Output, output_from_logits
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.registry import register_method
from cign.networks.encoder import Encoder
from cign.networks.token_readout import TokenReadouts
from cign.networks.training_state import Teacher
from cign.utils.options import check_positive, check_sizes, refuse_ignored
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class CignReplayOptions(MethodOptions):
    """Options of `cign_replay`; all values are ours, tuned as for every method.

    Attributes:
        training: Optimizer and schedule.
        width: Inner width of each modality's readout.
        assignment_temperature: Initial value of tau of the assignment, which is learned.
        count_strength: tau of the count adjustment.
        label_smoothing: Share of the target of a clip that is distributed over all classes.
        distillation_weight: Weight of the distillation of old scores, for each modality.
        temperature: Temperature of that distillation.
    """

    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(
            learning_rate=2e-3, weight_decay=0.3, optimizer="adamw", schedule="cosine"
        )
    )
    width: int = 768
    assignment_temperature: float = 0.3
    count_strength: float = 1.0
    label_smoothing: float = 0.1
    distillation_weight: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        """Reject invalid values and options that would be ignored."""
        check_sizes(self, {"width": 1})
        check_positive(self, ("assignment_temperature", "temperature"))
        for name in ("count_strength", "distillation_weight"):
            if getattr(self, name) < 0:
                raise InputError(
                    "bad-value", f"{name} {getattr(self, name)} is negative: use 0 or more"
                )
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                "bad-value", f"label_smoothing {self.label_smoothing} must be in [0, 1)"
            )
        if self.distillation_weight == 0:
            remedy = "give distillation_weight a value"
            refuse_ignored(self, ("temperature",), "distillation_weight 0", remedy)


@register_method("cign_replay")
class CignReplay(GradientMethod):
    """Class tokens and assignment with count-adjusted losses, a memory and distillation."""

    Options: ClassVar[type] = CignReplayOptions
    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    has_maps = True
    options: CignReplayOptions
    counts: Tensor

    def __init__(self, setup: Setup, options: CignReplayOptions) -> None:
        super().__init__(setup, options)
        self.network = TokenReadouts(
            Encoder(setup.shape, setup.backbone, bf16=setup.bf16),
            width=options.width,
            temperature=options.assignment_temperature,
        )
        self.teacher = Teacher[TokenReadouts]()
        self.old_outputs = OldOutputs(self, self.teacher, self._compute_old)
        self.register_buffer("counts", torch.zeros(0))

    def grow(self, num_new: int) -> None:
        """Copy the current model as the teacher, then add the classes."""
        if self.num_classes:
            self.teacher.keep(self.network)
        self.network.grow(num_new)
        self.counts = self.counts.new_ones(self.num_classes + num_new)
        super().grow(num_new)

    def before_task(self, data: TaskData) -> None:
        """Count the training clips of each class in this task."""
        classes = torch.from_numpy(data.class_of(np.concatenate([data.memory, data.new])))
        counts = torch.bincount(classes, minlength=self.num_classes).clamp_min(1)
        self.counts = counts.to(self.counts)

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Count-adjusted cross-entropy and distillation of every modality."""
        o = self.options
        logits = self.network(batch.audio, batch.visual)
        losses = {
            modality: count_adjusted_loss(
                logits[modality], batch.targets, self.counts, o.count_strength, o.label_smoothing
            )
            for modality in MODALITIES
        }
        if self.teacher and o.distillation_weight > 0:
            old = self.old_outputs.of(batch)
            for modality in MODALITIES:
                distance = distillation_loss(old[modality], logits[modality], o.temperature)
                losses[f"{modality}_distillation"] = o.distillation_weight * distance
        return losses

    def _compute_old(self, batch: Batch) -> Outputs:
        logits: Outputs = self.teacher.frozen(batch.audio, batch.visual)
        return logits

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the scores; the assignment of each class sums to one over tokens."""
        (audio_z, audio_a), (visual_z, visual_a) = self.network.read(audio, visual)
        logits = self.network.fuse(audio_z, visual_z)
        assignment = {"audio": audio_a, "visual": visual_a}
        return replace(output_from_logits(logits), assignment=assignment)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Tokens grouped by the predicted classes, shape [B, D_a + D_v].

        It is sum_i p_i sum_n A[n,i] x_n for each modality, x_n normalised; no true label is used.
        """
        both = self.network.encoder(audio, visual)
        parts = []
        for tokens, (scores, assigned) in zip(both, self.network.read_tokens(*both), strict=True):
            weight = assigned @ scores.softmax(dim=-1).unsqueeze(-1)  # [B, N, 1]
            x = nn.functional.layer_norm(tokens, tokens.shape[2:])
            parts.append((weight * x).sum(dim=1))
        return torch.cat(parts, dim=1)
