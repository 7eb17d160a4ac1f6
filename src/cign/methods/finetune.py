"""Fine-tuning, the lower bound: learns each task without regard to earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from cign.losses.classification import classification_loss
from cign.methods.base import (
    Batch,
    GradientMethod,
    Losses,
    Output,
    Setup,
    output_from_logits,
)
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.registry import register_method
from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork, Trunk
from cign.utils.options import refuse_ignored
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class HeadsOptions:
    """Options of methods on the trunk with three heads.

    Attributes:
        training: Optimizer and schedule.
        trunk: ``linear`` or ``transformer``.
        width: Width of the transformer; None uses that of the visual tokens.
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
            names = ("width", "depth", "num_heads", "drop_path")
            refuse_ignored(self, names, "trunk linear", "use trunk transformer")


@register_method("finetune")
class Finetune(GradientMethod):
    """Cross-entropy of three heads over all classes seen; uses exemplars if there are any."""

    Options: ClassVar[type] = HeadsOptions
    options: HeadsOptions

    def __init__(self, setup: Setup, options: HeadsOptions) -> None:
        super().__init__(setup, options)
        self.network = self.build_network()

    def build_network(self) -> HeadsNetwork:
        """A network without classes."""
        o = self.options
        return HeadsNetwork(
            Encoder(self.setup.shape, self.setup.backbone, bf16=self.setup.bf16),
            trunk=o.trunk,
            width=o.width,
            depth=o.depth,
            num_heads=o.num_heads,
            drop_path=o.drop_path,
        )

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

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """See `Method`."""
        logits = self.network(audio, visual)
        return output_from_logits(logits, multi_label=self.setup.multi_label)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """The fused head's features, shape [B, 2 D]."""
        return self.network.features(audio, visual)["audio_visual"]
