"""GEM: gradients that do not raise the loss on stored clips (Lopez-Paz & Ranzato, NeurIPS 2017)."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from cign import register_method
from cign.losses.classification import classification_loss
from cign.methods.finetune import Finetune, HeadsOptions
from cign.methods.phases import Phase
from cign.vocabulary import MODALITIES


@dataclass(frozen=True, kw_only=True)
class GemOptions(HeadsOptions):
    """How many stored clips of each earlier task a gradient is computed on."""

    num_clips: int = 16


@register_method("gem")
class Gem(Finetune):
    """Projects each gradient to the nearest one that agrees with that of every earlier task."""

    Options = GemOptions
    needs_memory = True

    def phases(self, data):
        """The stored clips only constrain the gradient."""
        return [Phase(name="train", indices=data.new, options=self.options.training)]

    def after_backward(self, optimizer):
        """Solve the dual problem of equation 11 by non-negative least squares."""
        if not len(self.data.memory):
            return
        weights = [w for group in optimizer.param_groups for w in group["params"]]
        own = torch.cat([w.grad.reshape(-1) for w in weights])
        earlier = torch.stack([self._gradient(task, weights) for task in range(self.data.task)])
        if bool((earlier @ own >= 0).all()):
            return
        # min over v >= 0 of |G^T v + g|^2, whose residual is the projected gradient
        v, _ = nnls(earlier.T.double().cpu().numpy(), -own.double().cpu().numpy())
        projected = own + earlier.T @ torch.from_numpy(v).to(own)
        parts = projected.split([w.numel() for w in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad.copy_(part.view_as(weight))

    def _gradient(self, task, weights):
        """The gradient of the loss on stored clips of a task, as one vector."""
        ends = np.cumsum(self.class_counts)
        task_of = np.searchsorted(ends, self.data.class_of(self.data.memory), side="right")
        (batch,) = self.data.batches(self.data.memory[task_of == task][: self.options.num_clips])
        logits = self.network(batch.audio, batch.visual)
        losses = [
            classification_loss(logits[r], batch.targets, multi_label=self.setup.multi_label)
            for r in MODALITIES
        ]
        parts = torch.autograd.grad(torch.stack(losses).sum(), weights, allow_unused=True)
        filled = [
            torch.zeros_like(w) if p is None else p for w, p in zip(weights, parts, strict=True)
        ]
        return torch.cat([part.reshape(-1) for part in filled])
