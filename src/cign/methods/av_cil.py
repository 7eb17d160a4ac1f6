"""AV-CIL: audio-visual similarity constraints and distillation of audio-guided attention.

Audio-Visual Class-Incremental Learning, Pian et al., ICCV 2023. Written only from the description
in the paper; docs/methods/av_cil.md lists what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cign.errors import InputError, one_of
from cign.losses.separated import separated_cross_entropy, task_wise_distillation
from cign.losses.similarity import (
    attention_distillation,
    class_contrast,
    instance_contrast,
    pair_similarities,
)
from cign.methods.base import Batch, Losses, Setup
from cign.methods.finetune import HeadsOptions
from cign.methods.old_outputs import Outputs
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.networks.encoder import Encoder
from cign.networks.guided import GuidedNetwork, GuidedOutput
from cign.utils.options import refuse_ignored
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class AvCilOptions(HeadsOptions):
    """Options of `av_cil`; the values are ours.

    Attributes:
        common_dim: Width of the common space of audio and visual features; None uses that of the
            visual features.
        similarity_temperature: Divides the cosine similarities in both contrastive losses.
        instance_weight: Weight of the instance-level constraint.
        class_weight: Weight of the class-level constraint.
        attention_weight: Weight of the attention distillation.
        attention_clips: Clips for the attention distillation: ``all`` of a batch or only those from
            ``memory``.
        logit_weight: Weight of the task-wise distillation of logits; 0 disables it.
        temperature: Temperature of that distillation.
    """

    common_dim: int | None = None
    similarity_temperature: float = 0.1
    instance_weight: float = 0.1
    class_weight: float = 1.0
    attention_weight: float = 0.5
    attention_clips: Literal["all", "memory"] = "all"
    logit_weight: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        """Reject options that would be ignored."""
        super().__post_init__()
        for weight, dependent in (
            ("logit_weight", "temperature"),
            ("attention_weight", "attention_clips"),
        ):
            if getattr(self, weight) == 0.0:
                refuse_ignored(self, (dependent,), f"{weight} 0", f"give {weight} a value")
        if self.instance_weight == self.class_weight == 0.0:
            names, where = ("similarity_temperature",), "instance_weight and class_weight 0"
            refuse_ignored(self, names, where, "give one of them a value")


@register_method("av_cil")
class AvCil(WithTeacher):
    """Separated cross-entropy, two similarity constraints, audio-guided attention distillation."""

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    needs_whole_batch: ClassVar[str] = "its losses contrast all clips of a batch with each other"
    Options: ClassVar[type] = AvCilOptions
    options: AvCilOptions
    network: GuidedNetwork

    def __init__(self, setup: Setup, options: AvCilOptions) -> None:
        if options.attention_clips not in ("all", "memory"):
            raise one_of(options.attention_clips, ("all", "memory"), "attention_clips")
        if not options.similarity_temperature > 0.0:
            raise InputError(
                "bad-value",
                f"similarity_temperature {options.similarity_temperature} is not positive: "
                "use for example 0.1",
            )
        super().__init__(setup, options)

    def build_network(self) -> GuidedNetwork:
        """A network without classes."""
        o = self.options
        return GuidedNetwork(
            Encoder(self.setup.shape, self.setup.backbone, bf16=self.setup.bf16),
            **o.trunk_arguments(),
            common_dim=o.common_dim,
        )

    @property
    def needs_only_means(self) -> bool:
        """See `Method`: its attention needs all tokens."""
        return False

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """All losses of a batch; distillation losses only from the second task on."""
        o = self.options
        now = self.network.read(batch.audio, batch.visual)
        logits = self.network.classify(now.features)
        losses = Losses()
        for modality in MODALITIES:
            losses[modality] = separated_cross_entropy(
                logits[modality], batch.targets, self.num_old
            )
        similarities = pair_similarities(now.audio, now.visual, o.similarity_temperature)
        losses["instance"] = o.instance_weight * instance_contrast(similarities)
        losses["class"] = o.class_weight * class_contrast(similarities, batch.labels)
        if self.num_old:
            losses.update(self._distillation(batch, now, logits))
        return losses

    def _distillation(self, batch: Batch, now: GuidedOutput, logits: dict[str, Tensor]) -> Losses:
        """Distillation of the logits and the audio-guided attention of the previous model."""
        o, old = self.options, self.old_outputs.of(batch)
        counts = batch.from_memory
        if o.attention_clips == "all":
            counts = torch.ones_like(counts)
        distance = attention_distillation(old["log_attention"], now.log_attention, counts)
        losses = {"attention": o.attention_weight * distance}
        if o.logit_weight:
            for modality in MODALITIES:
                losses[f"{modality}_distillation"] = o.logit_weight * task_wise_distillation(
                    old[modality], logits[modality], self.class_counts[:-1], o.temperature
                )
        return losses

    def _compute_old(self, batch: Batch) -> Outputs:
        """Logits and audio-guided attention of the model before the task."""
        teacher = self.teacher.frozen
        assert isinstance(teacher, GuidedNetwork)
        old = teacher.read(batch.audio, batch.visual)
        return {**teacher.classify(old.features), "log_attention": old.log_attention}
