"""Encoders trained only on the first task, for end-to-end closed-form methods."""

from __future__ import annotations

from cign.losses.classification import classification_loss
from cign.methods.base import Batch, Losses, Setup
from cign.methods.phases import TrainingOptions
from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork
from cign.vocabulary import MODALITIES

# Default training options of the encoders on the first task; ours.
ADAPTATION = TrainingOptions(
    num_epochs=10, optimizer="adamw", learning_rate=3e-4, weight_decay=0.05, schedule="cosine"
)


class Adaptation(HeadsNetwork):
    """Encoders trained by gradient descent with linear heads on the first task, then frozen.

    This follows ACIL, which trains its backbone on the first task and freezes it. The sums after it
    are as exact as on cached tokens, but the result depends on the classes of the first task.

    Args:
        setup: Setup with the backbone to train.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(Encoder(setup.shape, setup.backbone, bf16=setup.bf16))
        self.multi_label = setup.multi_label

    def losses(self, batch: Batch) -> Losses:
        """Cross-entropy of the three heads, as in `finetune`."""
        logits = self(batch.audio, batch.visual)
        return {
            modality: classification_loss(
                logits[modality], batch.targets, multi_label=self.multi_label
            )
            for modality in MODALITIES
        }
