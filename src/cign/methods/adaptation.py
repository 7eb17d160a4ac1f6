"""Encoders that learn on the first task alone, for closed forms end to end."""

from __future__ import annotations

from cign.losses.classification import classification_loss
from cign.methods.base import Batch, Losses, Setup
from cign.methods.phases import TrainingOptions
from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork
from cign.vocabulary import MODALITIES

# How encoders are trained on the first task where nothing else is asked for; ours.
ADAPTATION = TrainingOptions(
    num_epochs=10, optimizer="adamw", learning_rate=3e-4, weight_decay=0.05, schedule="cosine"
)


class Adaptation(HeadsNetwork):
    """Encoders that learn by gradient on the first task, under linear heads, and never again.

    ACIL trains its backbone on the first task and freezes it; so does this. The sums after it are
    as exact as on cached tokens, but which classes come first now matters.

    Args:
        setup: With the backbone to train.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(Encoder(setup.shape, setup.backbone, bf16=setup.bf16))
        self.multi_label = setup.multi_label

    def losses(self, batch: Batch) -> Losses:
        """Cross-entropy of the three heads, as `finetune` has it."""
        logits = self(batch.audio, batch.visual)
        return {
            modality: classification_loss(
                logits[modality], batch.targets, multi_label=self.multi_label
            )
            for modality in MODALITIES
        }
