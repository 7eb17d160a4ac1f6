"""ER-ACE: replay with a cross-entropy that does not lower old logits on new clips.

New Insights on Reducing Abrupt Representation Change in Online Continual Learning, Caccia et al.,
ICLR 2022.
"""

from __future__ import annotations

from cign.losses.classification import clip_losses, negatives_mask
from cign.methods.base import Batch, Losses
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.methods.replay import WithReplay
from cign.vocabulary import MODALITIES


@register_method("er_ace")
class ErAce(WithReplay):
    """Asymmetric cross-entropy: over the task's classes for new clips, over all for exemplars."""

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """The mean over new clips and the mean over exemplars, for each modality."""
        logits = self.network(batch.audio, batch.visual)
        of_old = batch.of_old_classes(self.num_old)  # new ones among them are ours
        mask = negatives_mask(of_old, self.num_old, self.num_classes, "new")
        new, replayed = self.part_weights(batch, phase)
        losses = Losses()
        for modality in MODALITIES:
            of_clips = clip_losses(
                logits[modality], batch.targets, mask, multi_label=self.setup.multi_label
            )
            losses[modality] = (new * of_clips).mean()
            if self.num_old:
                losses[f"{modality}_replay"] = (replayed * of_clips).mean()
        return losses
