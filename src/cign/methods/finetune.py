"""Fine-tuning, the lower bound: learns each task without regard to earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from cign.losses.classification import classification_loss
from cign.methods.base import Batch, GradientMethod, Losses, Setup
from cign.methods.options import MethodOptions
from cign.methods.output import Output, output_from_logits
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.registry import register_method
from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork, Trunk
from cign.utils.options import refuse_ignored
from cign.vocabulary import MODALITIES

_TRANSFORMER = ("width", "depth", "num_heads", "drop_path")


@dataclass(frozen=True, kw_only=True)
class HeadsOptions(MethodOptions):
    """Options of methods on the trunk with three heads.

    Attributes:
        training: Optimizer and schedule.
        trunk: ``linear`` or ``transformer``.
        width: Width of the transformer; None uses that of the visual tokens, at most
            512.
        depth: Blocks of the transformer.
        num_heads: Heads of its attention.
        drop_path: Stochastic depth rate.
    """

    training: TrainingOptions = field(default_factory=TrainingOptions)
    trunk: Trunk = "linear"
    width: int | None = None
    depth: int = 2
    num_heads: int = 8
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        """Reject options that would be ignored."""
        if self.trunk == "linear":
            refuse_ignored(self, _TRANSFORMER, "trunk linear", "use trunk transformer")

    def trunk_arguments(self) -> dict[str, Any]:
        """The arguments of `HeadsNetwork` about its trunk."""
        return {name: getattr(self, name) for name in ("trunk", *_TRANSFORMER)}


@register_method("finetune")
class Finetune(GradientMethod):
    """Cross-entropy of three heads over all classes seen; uses exemplars if there are any."""

    Options: ClassVar[type] = HeadsOptions
    options: HeadsOptions

    def __init__(self, setup: Setup, options: HeadsOptions) -> None:
        super().__init__(setup, options)
        self.network = self.build_network()

    @property
    def num_old(self) -> int:
        """Number of classes known before the task."""
        return self.num_classes - self.class_counts[-1]

    def build_network(self) -> HeadsNetwork:
        """A network without classes."""
        encoder = Encoder(self.setup.shape, self.setup.backbone, bf16=self.setup.bf16)
        return HeadsNetwork(encoder, **self.options.trunk_arguments())

    def grow(self, num_new: int) -> None:
        """See `Method`."""
        self.network.grow(num_new)
        super().grow(num_new)

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Losses of the three heads."""
        logits = self.network(batch.audio, batch.visual)
        return {
            modality: classification_loss(
                logits[modality], batch.targets, multi_label=self.setup.multi_label
            )
            for modality in MODALITIES
        }

    @property
    def needs_only_means(self) -> bool:
        """See `Method`: true of linear heads on cached tokens."""
        return self.options.trunk == "linear" and self.setup.backbone is None

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """See `Method`."""
        logits = self.network(audio, visual)
        return output_from_logits(logits, multi_label=self.setup.multi_label)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """The fused head's features, shape [B, 2 D]."""
        return self.network.features(audio, visual)["audio_visual"]
