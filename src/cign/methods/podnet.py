"""PODNet: pooled outputs distillation, several proxies per class, balanced fine-tuning.

PODNet: Pooled Outputs Distillation for Small-Tasks Incremental Learning, Douillard et al.,
ECCV 2020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.losses.pooled import pod_flat, pod_spatial
from cign.losses.proxies import proxy_nca_loss
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.finetune import HeadsOptions
from cign.methods.output import Output, output_from_logits
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.registry import register_method
from cign.methods.teacher import WithTeacher
from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork, Trunk
from cign.networks.proxies import ProxyHead
from cign.utils.options import refuse_ignored
from cign.utils.seeding import stream
from cign.vocabulary import MODALITIES

_BALANCED_PHASE = "balanced"


@dataclass(frozen=True, kw_only=True)
class PodnetOptions(HeadsOptions):
    """Options of `podnet`.

    Attributes:
        trunk: By default the transformer; on cached tokens its block outputs are the inner maps.
        num_proxies: K; 10 (the paper).
        margin: Margin of the NCA loss; 0.6 (the paper).
        initial_scale: Initial value of the learned scale; 1 (the authors' code).
        spatial_weight: lambda_c; 3 (the paper, CIFAR-100).
        flat_weight: lambda_f; 1 (the paper, CIFAR-100).
        adaptive: Whether both weights are scaled by sqrt(C / C_new) (the authors' code, after
            LUCIR).
        balanced_training: Training options of the fine-tuning after each task; 20 epochs at half
            the learning rate (the authors' code); the optimizer is ours.
    """

    trunk: Trunk = "transformer"
    num_proxies: int = 10
    margin: float = 0.6
    initial_scale: float = 1.0
    spatial_weight: float = 3.0
    flat_weight: float = 1.0
    adaptive: bool = True
    balanced_training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(num_epochs=20, learning_rate=5e-4)
    )

    def __post_init__(self) -> None:
        """Reject options that would be ignored, and an invalid scale."""
        super().__post_init__()
        if self.initial_scale <= 0.0:
            raise InputError(
                "bad-value", f"initial_scale {self.initial_scale} must be above 0: use 1 or more"
            )
        if self.spatial_weight == self.flat_weight == 0.0:
            where = "spatial_weight and flat_weight 0"
            refuse_ignored(self, ("adaptive",), where, "give one of them a value")


@register_method("podnet")
class Podnet(WithTeacher):
    """The trunk with proxy heads, distilled from the pooled outputs of the previous model."""

    needs_memory: ClassVar[bool] = True
    supports_multi_label: ClassVar[bool] = False
    refused_streams: ClassVar[Mapping[str, str]] = {
        "online": "its balanced phase trains on clips of the task again: use --stream tasks, or "
        "another method, for example er",
    }
    Options: ClassVar[type] = PodnetOptions
    options: PodnetOptions

    def __init__(self, setup: Setup, options: PodnetOptions) -> None:
        if not _distils(setup, options):
            names = ("spatial_weight", "flat_weight", "adaptive")
            where = "trunk linear on cached tokens"
            refuse_ignored(options, names, where, "use trunk transformer")
        super().__init__(setup, options)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Method`."""
        if _distils(self.setup, self.options):
            return ()
        return (
            "podnet with trunk linear on cached tokens distils nothing: it is the proxy classifier "
            "with balanced fine-tuning; trunk transformer has pooled outputs distillation",
        )

    def build_network(self) -> HeadsNetwork:
        """A network without classes."""
        o = self.options
        return HeadsNetwork(
            Encoder(self.setup.shape, self.setup.backbone, bf16=self.setup.bf16),
            **o.trunk_arguments(),
            make_head=lambda width: ProxyHead(width, o.num_proxies, o.initial_scale),
        )

    def head(self, modality: str) -> ProxyHead:
        """The head of a modality."""
        head = self.network.heads[modality]
        assert isinstance(head, ProxyHead)
        return head

    @torch.no_grad()
    def before_task(self, data: TaskData) -> None:
        """Imprint the new proxies; those of the first task stay random (the authors' code)."""
        if data.task == 0:
            return
        self.eval()
        parts: dict[str, list[Tensor]] = {modality: [] for modality in MODALITIES}
        for batch in data.batches(data.new):
            for modality, part in self.network.features(batch.audio, batch.visual).items():
                parts[modality].append(part.float().cpu())
        classes = data.class_of(data.new)
        for modality in MODALITIES:
            x = torch.cat(parts[modality]).numpy()
            by_class = [x[classes == c] for c in range(data.num_old, data.num_classes)]
            self.head(modality).imprint(by_class, data.seed)

    def phases(self, data: TaskData) -> list[Phase]:
        """Train on all clips, then on as many clips per new class as an old class has exemplars."""
        phases = super().phases(data)
        if len(data.memory):
            phases.append(
                Phase(
                    name=_BALANCED_PHASE,
                    indices=np.concatenate([data.memory, balanced_clips(data)]),
                    options=self.options.balanced_training,
                    trained=("network.heads.",),
                )
            )
        return phases

    def bound_scales(self) -> None:
        """Clamp scales that the last step made too low to their minimum."""
        for modality in MODALITIES:
            self.head(modality).bound_scale()

    def after_task(self, data: TaskData) -> None:
        """See `Method`."""
        self.bound_scales()

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """NCA loss of each modality, and distillation from the model before the task."""
        self.bound_scales()
        if phase.name == _BALANCED_PHASE:
            self.network.eval()
            with torch.no_grad():
                features = self.network.features(batch.audio, batch.visual)
            return self._classification(features, batch)
        maps: list[tuple[str, Tensor]] = []
        features = self.network.features(
            batch.audio, batch.visual, on_map=lambda *pair: maps.append(pair)
        )
        losses = self._classification(features, batch)
        if self.teacher:
            losses.update(self._distillation(batch, features, maps))
        return losses

    def _classification(self, features: dict[str, Tensor], batch: Batch) -> Losses:
        """NCA loss of each modality."""
        return {
            modality: proxy_nca_loss(
                self.head(modality)(features[modality]),
                batch.labels,
                self.head(modality).scale,
                self.options.margin,
            )
            for modality in MODALITIES
        }

    def _distillation(
        self, batch: Batch, features: dict[str, Tensor], maps: list[tuple[str, Tensor]]
    ) -> Losses:
        """POD losses on every inner map (mean over maps of a modality) and on the embeddings.

        Each modality is treated like the single network of the paper. The fused embedding
        concatenates both modalities, so it needs no distillation of its own.
        """
        old_maps: list[tuple[str, Tensor]] = []
        with torch.no_grad():
            old = self.teacher.frozen.features(
                batch.audio, batch.visual, on_map=lambda *pair: old_maps.append(pair)
            )
        o, shape = self.options, self.setup.shape
        factor = math.sqrt(self.num_classes / self.class_counts[-1]) if o.adaptive else 1.0
        losses = Losses()
        for modality, grid in (("audio", shape.audio_grid), ("visual", shape.visual_grid)):
            distances = [
                pod_spatial(before, now, grid)
                for (which, before), (_, now) in zip(old_maps, maps, strict=True)
                if which == modality
            ]
            if distances:
                spatial = factor * o.spatial_weight * torch.stack(distances).mean()
                losses[f"{modality}_spatial"] = spatial
            flat = pod_flat(old[modality], features[modality])
            losses[f"{modality}_flat"] = factor * o.flat_weight * flat
        return losses

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the scaled similarities of each modality."""
        similarities = self.network(audio, visual)
        return output_from_logits(
            {
                modality: self.head(modality).scale * similarities[modality]
                for modality in MODALITIES
            }
        )


def _distils(setup: Setup, options: PodnetOptions) -> bool:
    """Whether any distilled output depends on a parameter."""
    return setup.backbone is not None or options.trunk == "transformer"


def balanced_clips(data: TaskData) -> IntArray:
    """Draw as many clips per new class as an old class has exemplars, with the seed of the run.

    They are drawn at random rather than by herding, so that the list is the same if a run is
    resumed in the middle of a task (ours).
    """
    most = int(np.bincount(data.class_of(data.memory)).max())
    classes = data.class_of(data.new)
    parts = []
    for c in range(data.num_old, data.num_classes):
        clips = data.new[classes == c]
        order = stream(data.seed, 0xBA1, data.task, c).permutation(len(clips))
        parts.append(clips[order[:most]])
    return np.concatenate(parts)
