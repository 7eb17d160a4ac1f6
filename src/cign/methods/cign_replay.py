"""CIGN's network where encoders are trained and some old clips are kept: a recipe of our own.

The class tokens, transformer and grouping of `cign`, with losses that stand up to unequal numbers
of clips: cross-entropy over all classes adjusted by the counts, of both modalities and of their
sum, and distillation of the old classes' scores. What is whose: docs/methods/cign_replay.md.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cign.errors import InputError
from cign.losses.adjusted import count_adjusted_loss
from cign.losses.distillation import distillation_loss
from cign.methods.base import READINGS, Batch, GradientMethod, Losses, Scores, Setup, TaskData
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.teacher import refuse_multi_label
from cign.models.cign_network import CignNetwork, added_by_grouping
from cign.models.encoder import Encoder
from cign.models.grouping import Assignment
from cign.options import refuse_ignored


@dataclass(frozen=True, kw_only=True)
class CignReplayOptions:
    """Options of `cign_replay`; all figures are ours, tuned like every method's.

    Attributes:
        training: Optimizer and schedule.
        width: D; None takes the visual tokens' width.
        depth: Blocks of each modality's transformer; 0 groups the encoder's tokens as they are.
        num_heads: Heads of its attention.
        mlp_ratio: Inner width of the MLPs over D.
        drop_path: Stochastic depth rate.
        assignment: ``soft`` or ``hard``.
        pool_audio: Max-pool the audio tokens to one.
        token_scale: Standard deviation of new class tokens; with 0, as in `cign`, and no
            transformer all classes would be one.
        count_strength: tau of the count adjustment.
        distillation_weight: Of the distillation of the old classes' scores, per reading.
        temperature: Of that distillation.
    """

    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(
            learning_rate=1e-3, weight_decay=0.05, optimizer="adamw", schedule="cosine"
        )
    )
    width: int | None = None
    depth: int = 1
    num_heads: int = 8
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    assignment: Assignment = "soft"
    pool_audio: bool = False
    token_scale: float = 0.5
    count_strength: float = 1.0
    distillation_weight: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        """Refuse values that have no meaning or no effect."""
        for name in ("depth", "token_scale", "count_strength", "distillation_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)} is negative: use 0 or more")
        if not self.temperature > 0:
            raise InputError(f"temperature {self.temperature} is not positive: use 2, say")
        if self.distillation_weight == 0:
            remedy = "give distillation_weight a value"
            refuse_ignored(self, ("temperature",), "distillation_weight 0", remedy)


class CignReplay(GradientMethod):
    """The grouping network with count-adjusted losses, a memory and distillation."""

    name: ClassVar[str] = "cign_replay"
    Options: ClassVar[type] = CignReplayOptions
    needs_memory: ClassVar[bool] = True
    options: CignReplayOptions
    counts: Tensor

    def __init__(self, setup: Setup, options: CignReplayOptions) -> None:
        super().__init__(setup, options)
        refuse_multi_label(setup, self.name)
        names = ("width", "depth", "num_heads", "mlp_ratio", "drop_path", "assignment")
        sizes: dict[str, Any] = {name: getattr(options, name) for name in (*names, "pool_audio")}
        encoder = Encoder(setup.shape, setup.backbone, bf16=setup.bf16)
        self.network = CignNetwork(encoder, **sizes)
        self.teacher: CignNetwork | None = None
        self.register_buffer("counts", torch.zeros(0))

    def grow(self, num_new: int) -> None:
        """Keep the model as it is, then add the classes; their tokens differ from the start."""
        if self.num_classes:
            self.teacher = copy.deepcopy(self.network).requires_grad_(False)
        self.network.grow(num_new)
        torch.nn.init.normal_(self.network.tokens.chunks[-1], std=self.options.token_scale)
        self.counts = self.counts.new_ones(self.num_classes + num_new)
        # The linear head on raw tokens is for the losses of `cign` alone.
        self.network.token_head.requires_grad_(False)
        super().grow(num_new)

    def before_task(self, data: TaskData) -> None:
        """Count the clips of each class that this task trains on."""
        classes = torch.from_numpy(data.class_of(np.concatenate([data.memory, data.new])))
        counts = torch.bincount(classes, minlength=self.num_classes).clamp_min(1)
        self.counts = counts.to(self.counts)

    def logits(self, network: CignNetwork, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Scores of each reading, shape [B, C]; the fused ones are the modalities' sum."""
        output = network(audio, visual)
        heard, seen = output.audio.logits, output.visual.logits
        return {"audio": heard, "visual": seen, "audio_visual": heard + seen}

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Count-adjusted cross-entropy and distillation of every reading."""
        o = self.options
        logits = self.logits(self.network, batch.audio, batch.visual)
        losses = {
            reading: count_adjusted_loss(
                logits[reading], batch.targets, self.counts, o.count_strength
            )
            for reading in READINGS
        }
        if self.teacher is not None and o.distillation_weight > 0:
            self.teacher.eval()
            with torch.no_grad():
                old = self.logits(self.teacher, batch.audio, batch.visual)
            for reading in READINGS:
                distance = distillation_loss(old[reading], logits[reading], o.temperature)
                losses[f"{reading}_distillation"] = o.distillation_weight * distance
        return losses

    def predict(self, audio: Tensor, visual: Tensor) -> Scores:
        """Soft-max of each reading's scores; the fused one is the product, normalised."""
        logits = self.logits(self.network, audio, visual)
        return {reading: logits[reading].softmax(dim=-1) for reading in READINGS}

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """What the grouping added, weighted by the predicted probabilities, shape [B, 2 D]."""
        output = self.network(audio, visual)
        return added_by_grouping(output, [part.logits.softmax(dim=-1) for part in output])
