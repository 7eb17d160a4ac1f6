"""iCaRL: sigmoid outputs with distillation, herded exemplars, nearest mean of exemplars.

Incremental Classifier and Representation Learning, Rebuffi et al., CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cign.errors import InputError
from cign.losses.distillation import sigmoid_distillation_loss
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.finetune import HeadsOptions
from cign.methods.output import Output
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class IcarlOptions(HeadsOptions):
    """Options of `icarl`.

    Attributes:
        distance_scale: Probabilities are the soft-max of minus the squared distances over this;
            0.1 (ours: the paper needs only the order, which does not depend on it).
    """

    distance_scale: float = 0.1


def nearest_mean_scores(features: Tensor, means: Tensor, scale: float) -> Tensor:
    """Soft-max of minus the squared distances to the class means.

    Args:
        features: L2-normalised features, shape [B, D].
        means: L2-normalised class means, shape [C, D]; a row of zeros is a class without exemplars,
            which gets probability 0.
        scale: Divides the squared distances.

    Returns:
        Probabilities, shape [B, C].
    """
    # Both have unit length, so |f - m|^2 = 2 - 2 f.m.
    distances = 2.0 - 2.0 * features @ means.T
    distances = distances.masked_fill(~means.any(dim=1), float("inf"))
    return (-distances / scale).softmax(dim=-1)


@register_method("icarl")
class Icarl(WithTeacher):
    """Learns features with its heads, classifies by the nearest mean of exemplars."""

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    refused_streams: ClassVar[Mapping[str, str]] = {
        "online": "it classifies by exemplars that are chosen after a task: use --stream tasks, "
        "or another method, for example er",
    }
    Options: ClassVar[type] = IcarlOptions
    options: IcarlOptions

    def __init__(self, setup: Setup, options: IcarlOptions) -> None:
        super().__init__(setup, options)
        if options.distance_scale <= 0.0:
            raise InputError(
                "bad-value", f"distance_scale {options.distance_scale} must be above 0"
            )
        for modality in MODALITIES:
            self.register_buffer(f"means_{modality}", torch.zeros(0, self.network.dims[modality]))

    def means(self, modality: str) -> Tensor:
        """The class means of a modality, shape [C, D]; zero until exemplars are selected."""
        return self.get_buffer(f"means_{modality}")

    @property
    def state_bytes(self) -> int:
        """Bytes of the class means."""
        return sum(self.means(modality).nbytes for modality in MODALITIES)

    def grow(self, num_new: int) -> None:
        """See `Method`."""
        super().grow(num_new)
        for modality in MODALITIES:
            means = self.means(modality)
            room = means.new_zeros(num_new, means.shape[1])
            setattr(self, f"means_{modality}", torch.cat([means, room]))

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Losses of algorithm 3 for each modality."""
        logits, old = self.network(batch.audio, batch.visual), self.old_logits(batch)
        return {
            modality: sigmoid_distillation_loss(old[modality], logits[modality], batch.targets)
            for modality in MODALITIES
        }

    @torch.no_grad()
    def after_memory(self, data: TaskData) -> None:
        """Compute the mean of the exemplars of each class with the current features."""
        assert len(data.memory), "icarl is not run without a memory"
        self.network.eval()
        sums = {modality: torch.zeros_like(self.means(modality)) for modality in MODALITIES}
        for batch in data.batches(data.memory):
            classes = torch.from_numpy(data.class_of(batch.indices)).to(batch.targets.device)
            members_CB = F.one_hot(classes, self.num_classes).T.float()
            for modality, features_BD in self._features(batch.audio, batch.visual).items():
                sums[modality] += members_CB @ features_BD
        for modality, total in sums.items():
            # The normalised mean equals the normalised sum.
            setattr(self, f"means_{modality}", F.normalize(total, dim=-1))

    def _features(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """L2-normalised features of each modality."""
        features = self.network.features(audio, visual)
        return {modality: F.normalize(features[modality], dim=-1) for modality in MODALITIES}

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """The nearest mean of exemplars in the features of each modality."""
        features = self._features(audio, visual)
        probabilities = {
            modality: nearest_mean_scores(
                features[modality], self.means(modality), self.options.distance_scale
            )
            for modality in MODALITIES
        }
        return Output(probabilities=probabilities)
