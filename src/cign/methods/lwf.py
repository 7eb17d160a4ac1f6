"""Learning without forgetting: distillation preserves the outputs of old classes.

Learning without Forgetting, Li & Hoiem, ECCV 2016; its form for one growing classifier is the
LwF.MC of iCaRL, Rebuffi et al., CVPR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from cign.losses.classification import negatives_mask
from cign.losses.distillation import (
    distillation_loss,
    masked_cross_entropy,
    sigmoid_distillation_loss,
)
from cign.methods.base import Batch, Losses, Setup, refuse_multi_label
from cign.methods.finetune import HeadsOptions
from cign.methods.output import Output, output_from_logits
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.utils.options import refuse_ignored
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class LwfOptions(HeadsOptions):
    """Options of `lwf`.

    Attributes:
        form: ``softmax``: cross-entropy and distillation of tempered soft-max outputs (Li & Hoiem);
            ``sigmoid``: binary cross-entropy for both (LwF.MC of Rebuffi et al.).
        temperature: T of the soft-max form; 2 (Li & Hoiem).
        distillation_weight: lambda_o of the soft-max form; 1 (Li & Hoiem).
        classes: Classes in the cross-entropy of a new clip in the soft-max form: the ``new`` ones
            (Li & Hoiem, who use one head per task) or ``all``. The cross-entropy of a clip of an
            old class is always over all classes (ours).
    """

    form: Literal["softmax", "sigmoid"] = "softmax"
    temperature: float = 2.0
    distillation_weight: float = 1.0
    classes: Literal["new", "all"] = "new"

    def __post_init__(self) -> None:
        """Reject options that would be ignored."""
        super().__post_init__()
        if self.form == "sigmoid":
            names = ("temperature", "distillation_weight", "classes")
            refuse_ignored(self, names, "form sigmoid", "use form softmax")
        if self.distillation_weight == 0.0:
            remedy = "give distillation_weight a value"
            refuse_ignored(self, ("temperature",), "distillation_weight 0", remedy)


@register_method("lwf")
class Lwf(WithTeacher):
    """Fine-tuning on the new classes with distillation on the old ones, for each modality."""

    Options: ClassVar[type] = LwfOptions
    options: LwfOptions

    def __init__(self, setup: Setup, options: LwfOptions) -> None:
        super().__init__(setup, options)
        if options.form == "softmax" and setup.multi_label:
            refuse_multi_label("lwf with form softmax", "use form sigmoid")

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Classification and distillation losses of each modality."""
        logits, old = self.network(batch.audio, batch.visual), self.old_logits(batch)
        o, losses = self.options, Losses()
        if o.form == "sigmoid":
            for modality in MODALITIES:
                losses[modality] = sigmoid_distillation_loss(
                    old[modality], logits[modality], batch.targets
                )
            return losses
        of_old = batch.of_old_classes(self.num_old)
        mask = negatives_mask(of_old, self.num_old, self.num_classes, o.classes)
        for modality in MODALITIES:
            losses[modality] = masked_cross_entropy(logits[modality], batch.labels, mask)
            if self.num_old:
                distance = distillation_loss(old[modality], logits[modality], o.temperature)
                losses[f"{modality}_distillation"] = o.distillation_weight * distance
        return losses

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max or sigmoid of each modality, as in training."""
        if self.options.form == "softmax":
            return super().predict(audio, visual)
        return output_from_logits(self.network(audio, visual), multi_label=True)
