"""IL2M: fine-tuning with a memory of clips and a second memory of initial class statistics.

IL2M: Class Incremental Learning With Dual Memory, Belouadah & Popescu, ICCV 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cign.data.tasks import IntArray
from cign.errors import one_of
from cign.methods.base import Setup, TaskData
from cign.methods.finetune import Finetune, HeadsOptions
from cign.methods.output import ByModality, Output, output_from_logits
from cign.methods.registry import register_method
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class Il2mOptions(HeadsOptions):
    """Options of `il2m`.

    Attributes:
        scores: Scores to average and rectify: the ``probabilities`` of the soft-max (ours), or
            the ``logits`` before it (the authors' code).
    """

    scores: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        """Reject an unknown kind of scores."""
        super().__post_init__()
        if self.scores not in ("probabilities", "logits"):
            raise one_of(self.scores, ("probabilities", "logits"), "scores")


def rectify(scores: Tensor, factors: Tensor, *, normalise: bool = True) -> Tensor:
    """Scale the scores of old classes, only where the arg-max is a new class.

    Source: equation 1 of the paper. Normalising the changed rows to sum to one is ours; it does not
    change the order of the classes.

    Args:
        scores: Probabilities or logits, shape [B, C].
        factors: Factor on the score of each old class, shape [C_old].
        normalise: Whether to divide changed rows by their sum.

    Returns:
        The rectified scores, shape [B, C].
    """
    num_old = len(factors)
    rectified = torch.cat([scores[:, :num_old] * factors, scores[:, num_old:]], dim=1)
    if normalise:
        rectified = rectified / rectified.sum(dim=1, keepdim=True)
    predicts_new = scores.argmax(dim=1, keepdim=True) >= num_old
    return torch.where(predicts_new, rectified, scores)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """Divide a by b, or by the smallest positive number where b is zero."""
    return a / torch.where(b == 0, torch.finfo(b.dtype).tiny, b)


@register_method("il2m")
class Il2m(Finetune):
    """Fine-tuning that rescales scores of old classes to their level when they were learned.

    It stores three statistics, with a row for each of `MODALITIES`: the mean score of each class on
    its own clips when it was learned, [3, C]; its current mean score on its exemplars, [3, C]; and
    the mean highest score of each task on the clips of its new classes, [3, T].
    """

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    Options: ClassVar[type] = Il2mOptions
    options: Il2mOptions
    initial_means: Tensor
    current_means: Tensor
    confidence: Tensor

    def __init__(self, setup: Setup, options: Il2mOptions) -> None:
        super().__init__(setup, options)
        for name in ("initial_means", "current_means", "confidence"):
            self.register_buffer(name, torch.zeros(len(MODALITIES), 0))

    @property
    def state_bytes(self) -> int:
        """Bytes of the three statistics."""
        return sum(s.nbytes for s in (self.initial_means, self.current_means, self.confidence))

    def grow(self, num_new: int) -> None:
        """See `Method`."""
        self.initial_means = F.pad(self.initial_means, (0, num_new))
        self.current_means = F.pad(self.current_means, (0, num_new))
        self.confidence = F.pad(self.confidence, (0, 1))
        super().grow(num_new)

    @torch.no_grad()
    def after_task(self, data: TaskData) -> None:
        """Update the statistics on clips of the new classes and exemplars of the old ones."""
        self.network.eval()
        of_new = data.new[data.class_of(data.new) >= data.num_old]
        new_means, _, highest = self._statistics(data, of_new)
        old_means, old_counts, _ = self._statistics(data, data.memory)
        new = slice(data.num_old, data.num_classes)
        self.initial_means[:, new] = new_means[:, new]
        # A class without exemplars has no current mean: its factor stays one.
        self.current_means = torch.where(old_counts > 0, old_means, self.initial_means)
        self.confidence[:, -1] = highest

    def _statistics(self, data: TaskData, clips: IntArray) -> tuple[Tensor, Tensor, Tensor]:
        """Each class's mean score on its clips, [3, C]; clip counts, [C]; mean highest, [3]."""
        sums = torch.zeros_like(self.initial_means)
        counts, highest = torch.zeros_like(sums[0]), torch.zeros_like(sums[:, 0])
        for batch in data.batches(clips):
            own_BC = F.one_hot(batch.labels, self.num_classes).to(sums.dtype)
            counts += own_BC.sum(dim=0)
            scores = self._scores(batch.audio, batch.visual)
            for row, modality in enumerate(MODALITIES):
                sums[row] += (scores[modality] * own_BC).sum(dim=0)
                highest[row] += scores[modality].amax(dim=1).sum()
        return sums / counts.clamp(min=1.0), counts, highest / max(1, len(clips))

    def settle(self) -> None:
        """Precompute the factors: tracers cannot follow sizes that are read from a tensor."""
        factors = self.factors().clone()
        self.factors = lambda: factors  # type: ignore[method-assign]

    def factors(self) -> Tensor:
        """Factors on the scores of old classes, shape [3, C_old].

        They are (initial mean / current mean) x (current confidence / confidence when the class
        was learned) (equation 1); one within a task, which has no statistics yet.
        """
        sizes = torch.tensor(self.class_counts, device=self.confidence.device)
        now = self.confidence[:, -1:]
        when_learned = self.confidence.repeat_interleave(sizes, dim=1)
        ratio = _divide(self.initial_means, self.current_means)
        factors = (ratio * _divide(now, when_learned))[:, : self.num_old]
        return torch.where(now == 0, 1.0, factors)

    def _scores(self, audio: Tensor, visual: Tensor) -> ByModality:
        """The scores to rectify, shape [B, C] for each modality."""
        if self.options.scores == "probabilities":
            return super().predict(audio, visual).probabilities
        logits: ByModality = self.network(audio, visual)
        return logits

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Probabilities of each modality, with rectified scores of the old classes.

        A soft-max is applied to rectified logits (ours); it preserves their order.
        """
        scores, factors = self._scores(audio, visual), self.factors()
        plain = self.options.scores == "probabilities"
        rectified = {
            modality: rectify(scores[modality], factors[row], normalise=plain)
            for row, modality in enumerate(MODALITIES)
        }
        if plain:
            return Output(probabilities=rectified)
        return output_from_logits(rectified)
