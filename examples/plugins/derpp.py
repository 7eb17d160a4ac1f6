"""DER++ with a reservoir memory: Dark Experience Replay (Buzzega et al., NeurIPS 2020)."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from cign import register_method
from cign.methods.finetune import Finetune, HeadsOptions
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class DerOptions(HeadsOptions):
    """Weights of equation 6: of the squared distance of logits, and of the labels' loss."""

    alpha: float = 0.2
    beta: float = 0.5


@register_method("derpp_reservoir")
class DerPlusPlus(Finetune):
    """Replays clips with the logits that the model had for them when they were stored."""

    Options = DerOptions
    needs_memory = True
    supports_multi_label = False
    sized_by_clips = frozenset({"clips", "stored"})

    def __init__(self, setup, options):
        super().__init__(setup, options)
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("clips", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("stored", torch.zeros(0, len(MODALITIES), 0))

    def phases(self, data):
        """Each batch has as many replayed clips as new ones."""
        (phase,) = super().phases(data)
        size = self.options.training.batch_size if len(data.memory) else 0
        return [replace(phase, indices=data.new, replay=data.memory, num_replay=size)]

    def learn(self, batch, phase):
        """Cross-entropy of the new clips, and equation 6 on the replayed ones."""
        logits, old = self.network(batch.audio, batch.visual), batch.from_memory
        losses = {r: F.cross_entropy(logits[r][~old], batch.labels[~old]) for r in MODALITIES}
        if old.any():
            rows = torch.searchsorted(
                self.clips, torch.from_numpy(batch.indices).to(old.device)[old]
            )
            for i, r in enumerate(MODALITIES):
                stored = self.stored[rows, i]
                distance = F.mse_loss(logits[r][old, : stored.shape[1]], stored)
                labels = F.cross_entropy(logits[r][old], batch.labels[old])
                losses[f"{r}_replay"] = self.options.alpha * distance + self.options.beta * labels
        return losses

    def choose_exemplars(self, memory, data):
        """Reservoir sampling: of n clips seen so far each is kept with probability M / n."""
        draw = np.random.default_rng([data.seed, data.task])
        kept, size = list(data.memory), memory.capacity(data.num_classes, data.bytes_per_clip)
        for clip in draw.permutation(data.new):
            self.num_seen += 1
            if len(kept) < size:
                kept.append(clip)
            elif (place := draw.integers(int(self.num_seen))) < size:
                kept[place] = clip
        memory.replace(np.array(kept), data.class_of(np.array(kept)))

    @torch.no_grad()
    def after_memory(self, data):
        """Store logits; clips that were stored before keep theirs for the classes of then."""
        clips = torch.from_numpy(np.sort(data.memory)).to(self.clips.device)
        logits = [self.network(b.audio, b.visual) for b in data.batches(clips.cpu().numpy())]
        stored = torch.cat([torch.stack([part[r] for r in MODALITIES], dim=1) for part in logits])
        known = torch.isin(self.clips, clips)
        places = torch.searchsorted(clips, self.clips[known])
        stored[places, :, : self.stored.shape[2]] = self.stored[known]
        self.clips, self.stored = clips, stored
