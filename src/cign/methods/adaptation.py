"""Encoders trained only on the first task, for end-to-end closed-form methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor, nn

from cign.data.tasks import IntArray
from cign.losses.classification import classification_loss
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.phases import TrainingOptions
from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork
from cign.networks.training_state import TrainingState
from cign.vocabulary import MODALITIES

# Default training options of the encoders on the first task; ours.
ADAPTATION = TrainingOptions(
    num_epochs=10, optimizer="adamw", learning_rate=3e-4, weight_decay=0.05, schedule="cosine"
)


class _Heads(nn.ModuleDict, TrainingState):
    """Heads that only the adaptation needs; saved models do not contain them."""


class Adaptation(HeadsNetwork):
    """Encoders trained by gradient descent with linear heads on the first task, then frozen.

    This follows ACIL, which trains its backbone on the first task and freezes it. The sums after it
    are as exact as on cached tokens, but the result depends on the classes of the first task.

    Args:
        setup: Setup with the backbone to train.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(Encoder(setup.shape, setup.backbone, bf16=setup.bf16))
        self.heads = _Heads(dict(self.heads.items()))
        self.multi_label = setup.multi_label

    def losses(self, batch: Batch) -> Losses:
        """Cross-entropy of the three heads, as in `finetune`, with weights and shares (ours)."""
        logits = self(batch.audio, batch.visual)
        return {
            modality: classification_loss(
                logits[modality],
                batch.label_shares,
                multi_label=self.multi_label,
                weights=batch.weights,
            )
            for modality in MODALITIES
        }

    def encode(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of a batch in float16, like the cached tokens of frozen encoders.

        Args:
            audio: Samples [B, L]; or tokens of these encoders [B, N_a, D_a], returned unchanged.
            visual: Frames [B, K, S, S, 3]; or tokens [B, N_v, D_v].
        """
        if audio.ndim == 3:
            return audio, visual
        audio, visual = self.encoder(audio, visual)
        return audio.half(), visual.half()

    def encoding(self, data: TaskData) -> TaskData:
        """The data of a task with batches of tokens, a fraction of the size of the media."""

        def batches(indices: IntArray) -> Iterator[Batch]:
            for batch in data.batches(indices):
                audio, visual = self.encode(batch.audio, batch.visual)
                yield replace(batch, audio=audio, visual=visual)

        return replace(data, batches=batches)
