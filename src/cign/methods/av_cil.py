"""AV-CIL: audio-visual similarity constraints and distillation of audio-guided attention.

Audio-Visual Class-Incremental Learning, Pian et al., ICCV 2023. docs/methods/av_cil.md lists what
equals the paper or the authors' code, and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cign.errors import InputError, one_of
from cign.losses.separated import separated_cross_entropy, task_wise_distillation
from cign.losses.similarity import (
    ClassMean,
    attention_distillation,
    class_contrast,
    instance_contrast,
    pair_similarities,
)
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.finetune import HeadsOptions
from cign.methods.old_outputs import Outputs
from cign.methods.phases import Phase, check_old_share, num_old_clips, replay_phase
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.networks.encoder import Encoder
from cign.networks.guided import GuidedNetwork, GuidedOutput
from cign.utils.options import refuse_ignored
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class AvCilOptions(HeadsOptions):
    """Options of `av_cil`; "authors" are the settings of their code.

    Attributes:
        common_dim: Width of the features that are contrasted and classified; None uses that of the
            visual tokens (authors: 768 for tokens of 768).
        similarity_temperature: Divides the cosine similarities in both contrasts; 0.05 (authors).
        instance_weight: Weight of the instance-level constraint; 0.5 for AVE, 0.1 for
            Kinetics-Sounds and VGGSound100 (authors).
        class_weight: Weight of the class-level constraint; 1 (authors).
        class_mean: Divisor of the sum over the clips of a class in the class-level constraint:
            ``pairs``, the clips of the batch (authors), or ``positives``, the clips of the class
            (the paper's equation 7, according to a comment in the authors' code).
        constraints_from: First task with the constraints: ``second`` (authors) or ``first`` (ours).
        attention_weight: Weight of the attention distillation; 1 (authors).
        spatial_share: Share of the spatial attention in it, the rest is of the temporal one; 0.5
            (authors).
        logit_weight: Weight of the task-wise distillation of logits; 1 (authors), 0 disables it.
        temperature: Temperature of that distillation; 2 (authors).
        old_share: Share of old clips in each batch; 1/3 (authors: 128 old and 256 new).
            ``training.batch_size`` counts both.
    """

    common_dim: int | None = None
    similarity_temperature: float = 0.05
    instance_weight: float = 0.1
    class_weight: float = 1.0
    class_mean: ClassMean = "pairs"
    constraints_from: Literal["first", "second"] = "second"
    attention_weight: float = 1.0
    spatial_share: float = 0.5
    logit_weight: float = 1.0
    temperature: float = 2.0
    old_share: float = 1 / 3

    def __post_init__(self) -> None:
        """Reject options that would be ignored."""
        super().__post_init__()
        for weight, dependent in (
            ("logit_weight", ("temperature",)),
            ("attention_weight", ("spatial_share",)),
            ("class_weight", ("class_mean",)),
        ):
            if getattr(self, weight) == 0.0:
                refuse_ignored(self, dependent, f"{weight} 0", f"give {weight} a value")
        if self.instance_weight == self.class_weight == 0.0:
            names = ("similarity_temperature", "constraints_from")
            where = "instance_weight and class_weight 0"
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
        for name, allowed in (
            ("class_mean", ("pairs", "positives")),
            ("constraints_from", ("first", "second")),
        ):
            if getattr(options, name) not in allowed:
                raise one_of(getattr(options, name), allowed, name)
        if not options.similarity_temperature > 0.0:
            raise InputError(
                "bad-value",
                f"similarity_temperature {options.similarity_temperature} is not positive: "
                "use for example 0.05",
            )
        if not 0.0 <= options.spatial_share <= 1.0:
            raise InputError(
                "bad-value", f"spatial_share {options.spatial_share} is not a share: use 0 to 1"
            )
        check_old_share(self.name, options.old_share, options.training)
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

    def phases(self, data: TaskData) -> list[Phase]:
        """One pass is over the new clips; each batch also has a fixed number of exemplars."""
        share, training = self.options.old_share, self.options.training
        # As in the authors' code, a batch never needs an exemplar twice.
        num_old = min(num_old_clips(share, training.batch_size), len(data.memory))
        return [replay_phase(data.new, data.memory, training, num_old)]

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
        if self.num_old or o.constraints_from == "first":
            similarities = pair_similarities(
                now.features["audio"], now.guided, o.similarity_temperature
            )
            losses["instance"] = o.instance_weight * instance_contrast(similarities)
            contrast = class_contrast(similarities, batch.labels, o.class_mean)
            losses["class"] = o.class_weight * contrast
        if self.num_old:
            losses.update(self._distillation(batch, now, logits))
        return losses

    def _distillation(self, batch: Batch, now: GuidedOutput, logits: dict[str, Tensor]) -> Losses:
        """Distillation of the logits and the audio-guided attention of the previous model."""
        o, old = self.options, self.old_outputs.of(batch)
        spatial, temporal = (
            attention_distillation(old[name], getattr(now, name), batch.from_memory)
            for name in ("log_spatial", "log_temporal")
        )
        distance = o.spatial_share * spatial + (1.0 - o.spatial_share) * temporal
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
        attention = {"log_spatial": old.log_spatial, "log_temporal": old.log_temporal}
        return {**teacher.classify(old.features), **attention}

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Audio and guided visual features, whose sum the fused head takes, shape [B, 2 E]."""
        found = self.network.read(audio, visual)
        return torch.cat([found.features["audio"], found.guided], dim=-1)
