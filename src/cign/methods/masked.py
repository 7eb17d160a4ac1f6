"""Masked cross-entropy: each task is learned over its own classes only, without distillation.

The loss of the prompt methods without their prompts. Excluding logits of other tasks is the "labels
trick" of Zeno et al., Task Agnostic Continual Learning Using Online Variational Bayes, 2018.
"""

from __future__ import annotations

from dataclasses import replace

from cign.losses.classification import own_task_loss
from cign.methods.base import Batch, Losses, TaskData
from cign.methods.finetune import Finetune
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.vocabulary import MODALITIES


@register_method("masked")
class Masked(Finetune):
    """Cross-entropy of three heads over the classes of each clip's own task."""

    def phases(self, data: TaskData) -> list[Phase]:
        """Without clips of old classes their rows are not trained, as in the prompt methods.

        Their gradient is zero, but weight decay would shrink them.
        """
        (phase,) = super().phases(data)
        if len(data.memory) or (data.class_of(data.new) < data.num_old).any():
            return [phase]
        newest = f".{data.task}"
        trained = tuple(
            name
            for name, _ in self.named_parameters()
            if not name.startswith("network.heads.") or name.endswith(newest)
        )
        return [replace(phase, trained=trained)]

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Losses of the three heads over the classes of each clip's own task."""
        logits = self.network(batch.audio, batch.visual)
        return {
            modality: own_task_loss(
                logits[modality],
                batch.targets,
                self.class_counts,
                multi_label=self.setup.multi_label,
            )
            for modality in MODALITIES
        }
