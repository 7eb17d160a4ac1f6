"""SS-IL: separated soft-maxes, task-wise distillation, a fixed share of old clips in each batch.

SS-IL: Separated Softmax for Incremental Learning, Ahn et al., ICCV 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cign.losses.separated import separated_cross_entropy, task_wise_distillation
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.finetune import HeadsOptions
from cign.methods.phases import Phase, check_old_share, num_old_clips, replay_phase
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.utils.options import refuse_ignored
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class SsilOptions(HeadsOptions):
    """Options of `ssil`.

    Attributes:
        temperature: Temperature of the distillation; 2 (the authors' code).
        old_share: Share of old clips in each batch; 0.2 (the paper: 32 old and 128 new).
            ``training.batch_size`` counts both.
        distillation_weight: Weight of the distillation; 1 (the paper adds both losses).
    """

    temperature: float = 2.0
    old_share: float = 0.2
    distillation_weight: float = 1.0

    def __post_init__(self) -> None:
        """Reject options that would be ignored."""
        super().__post_init__()
        if self.distillation_weight == 0.0:
            remedy = "give distillation_weight a value"
            refuse_ignored(self, ("temperature",), "distillation_weight 0", remedy)


@register_method("ssil")
class Ssil(WithTeacher):
    """Separate soft-maxes for old and new classes, so that new ones do not suppress old ones."""

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    Options: ClassVar[type] = SsilOptions
    options: SsilOptions

    def __init__(self, setup: Setup, options: SsilOptions) -> None:
        check_old_share(self.name, options.old_share, options.training)
        super().__init__(setup, options)

    def phases(self, data: TaskData) -> list[Phase]:
        """One pass is over the new clips; each batch also has a fixed number of exemplars."""
        training = self.options.training
        num_old = num_old_clips(self.options.old_share, training.batch_size)
        return [replay_phase(data.new, data.memory, training, num_old)]

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Separated cross-entropy and task-wise distillation of each modality."""
        logits, old = self.network(batch.audio, batch.visual), self.old_logits(batch)
        losses = Losses()
        for modality in MODALITIES:
            losses[modality] = separated_cross_entropy(
                logits[modality], batch.targets, self.num_old
            )
            if self.num_old:
                distance = task_wise_distillation(
                    old[modality],
                    logits[modality],
                    self.class_counts[:-1],
                    self.options.temperature,
                )
                losses[f"{modality}_distillation"] = self.options.distillation_weight * distance
        return losses
