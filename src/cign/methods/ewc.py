"""Elastic weight consolidation: changing parameters important to earlier tasks is penalised.

`ewc`: Overcoming catastrophic forgetting in neural networks, Kirkpatrick et al., PNAS 2017.
`ewc_online`: Progress & Compress, Schwarz et al., ICML 2018, section on online EWC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.methods.base import Batch, Losses, Setup, TaskData
from cign.methods.finetune import Finetune, HeadsOptions
from cign.methods.phases import Phase
from cign.methods.registry import register_method
from cign.networks.importance import Importance
from cign.utils.options import refuse_ignored
from cign.utils.seeding import stream
from cign.vocabulary import MODALITIES

FisherLabels = Literal["sampled", "true", "predicted"]


@dataclass(frozen=True, kw_only=True)
class EwcOptions(HeadsOptions):
    """Options of `ewc`.

    Attributes:
        strength: lambda of the penalty. The paper tunes it for each problem; 100 is ours.
        fisher_labels: Labels whose log-likelihood is differentiated: labels ``sampled`` from the
            prediction (the Fisher information by definition, with one draw), the ``true``
            labels (the "empirical" Fisher, which vanishes as the clips are fitted), or the
            ``predicted`` ones. The paper does not specify it; the default is ours.
        num_fisher_clips: Number of clips of a task for the estimate; None uses all.
    """

    strength: float = 100.0
    fisher_labels: FisherLabels = "sampled"
    num_fisher_clips: int | None = None

    def __post_init__(self) -> None:
        """Reject options that would be ignored."""
        super().__post_init__()
        if self.strength == 0.0:
            names = ("fisher_labels", "num_fisher_clips")
            refuse_ignored(self, names, "strength 0", "give strength a value")


@dataclass(frozen=True, kw_only=True)
class EwcOnlineOptions(EwcOptions):
    """Options of `ewc_online`.

    Attributes:
        decay: gamma, the factor on the importance of earlier tasks when a task is added, in (0, 1].
            The paper tunes it; 0.95 is ours.
    """

    decay: float = 0.95

    def __post_init__(self) -> None:
        """Reject options that would be ignored."""
        super().__post_init__()
        if self.strength == 0.0:
            refuse_ignored(self, ("decay",), "strength 0", "give strength a value")


def log_likelihood(logits: Tensor, targets: Tensor, labels: FisherLabels, multi: bool) -> Tensor:
    """Log-likelihood of the labels of one clip under one modality.

    Args:
        logits: Logits, shape [1, C].
        targets: True labels, multi-hot bool, shape [1, C].
        labels: Which labels to use, see `EwcOptions`.
        multi: Whether a clip may have several labels; then each class is a Bernoulli variable.

    Returns:
        A scalar.
    """
    if multi:
        chosen = targets.to(logits.dtype)
        if labels != "true":
            p = logits.detach().sigmoid()
            chosen = p.bernoulli() if labels == "sampled" else p.round()
        return -F.binary_cross_entropy_with_logits(logits, chosen, reduction="sum")
    if labels == "true":
        label = targets.to(torch.uint8).argmax(dim=-1)
    elif labels == "predicted":
        label = logits.argmax(dim=-1)
    else:
        label = torch.multinomial(logits.detach().softmax(dim=-1), 1).squeeze(-1)
    return -F.cross_entropy(logits, label)


def diagonal_fisher(
    parameters: dict[str, nn.Parameter],
    data: TaskData,
    clips: IntArray,
    likelihood: Callable[[Batch, int], Tensor],
) -> dict[str, Tensor]:
    """Mean over clips of the squared gradient of each clip's log-likelihood.

    Args:
        parameters: Parameters by name.
        data: Source of the batches.
        clips: Indices of the clips, shape [n].
        likelihood: Returns the log-likelihood of clip i of a batch.

    Returns:
        A tensor of the shape of the parameter for each name.
    """
    sums = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
    for batch in data.batches(clips):
        # One clip at a time: the squared mean gradient of a batch is not the mean of the squares.
        for i in range(len(batch.indices)):
            value = likelihood(batch, i)
            gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            for total, gradient in zip(sums.values(), gradients, strict=True):
                if gradient is not None:
                    total += gradient.square()
    return {name: total / len(clips) for name, total in sums.items()}


@register_method("ewc")
class Ewc(Finetune):
    """Fine-tuning with one quadratic penalty for each earlier task, summed."""

    Options: ClassVar[type] = EwcOptions
    options: EwcOptions

    def __init__(self, setup: Setup, options: EwcOptions) -> None:
        super().__init__(setup, options)
        if options.num_fisher_clips is not None and options.num_fisher_clips < 1:
            raise InputError(
                "bad-value",
                f"num_fisher_clips {options.num_fisher_clips} is too small: use 1 or more, or null",
            )
        self.importance = Importance()

    @property
    def state_bytes(self) -> int:
        """Bytes of the importances and anchors."""
        return self.importance.num_bytes

    def grow(self, num_new: int) -> None:
        """See `Method`."""
        super().grow(num_new)
        self.importance.grow(self._learnable().items())

    def _learnable(self) -> dict[str, nn.Parameter]:
        """The parameters that are penalised, by name."""
        return {n: p for n, p in self.network.named_parameters() if p.requires_grad}

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Losses of the heads and, from the second task on, the penalty."""
        losses = super().learn(batch, phase)
        assert losses is not None
        if len(self.class_counts) > 1:
            losses["penalty"] = self.options.strength * self.penalty()
        return losses

    def penalty(self) -> Tensor:
        """Penalty for the distance from the parameters of earlier tasks, a scalar."""
        return self.importance.penalty(self._learnable().items())

    def after_task(self, data: TaskData) -> None:
        """Estimate the importance of parameters on the task's clips and add it."""
        self.consolidate(self.fisher(data))

    def fisher(self, data: TaskData) -> dict[str, Tensor]:
        """Diagonal Fisher information on the task's new clips, summed over modalities."""
        self.network.eval()
        clips = data.new
        if self.options.num_fisher_clips is not None:
            rng = stream(data.seed, 0xF15, data.task)
            clips = rng.permutation(clips)[: self.options.num_fisher_clips]
        return diagonal_fisher(self._learnable(), data, clips, self._log_likelihood)

    def _log_likelihood(self, batch: Batch, i: int) -> Tensor:
        """Log-likelihood of one clip, summed over modalities as independent predictions."""
        logits = self.network(batch.audio[i : i + 1], batch.visual[i : i + 1])
        targets, labels = batch.targets[i : i + 1], self.options.fisher_labels
        parts = [
            log_likelihood(logits[modality], targets, labels, self.setup.multi_label)
            for modality in MODALITIES
        ]
        return torch.stack(parts).sum()

    def consolidate(self, fisher: dict[str, Tensor]) -> None:
        """Add the penalty of the task, with its own anchor, to those of earlier tasks."""
        self.importance.add(self._learnable().items(), fisher)


@register_method("ewc_online")
class EwcOnline(Ewc):
    """One penalty around the latest parameters; the importance of earlier tasks decays."""

    Options: ClassVar[type] = EwcOnlineOptions
    options: EwcOnlineOptions

    def __init__(self, setup: Setup, options: EwcOnlineOptions) -> None:
        super().__init__(setup, options)
        if not 0.0 < options.decay <= 1.0:
            raise InputError("bad-value", f"decay {options.decay} must be in (0, 1]")

    def penalty(self) -> Tensor:
        """1/2 of the squared distance weighted by gamma F* of the tasks before this one."""
        return self.importance.penalty(self._learnable().items(), self.options.decay)

    def consolidate(self, fisher: dict[str, Tensor]) -> None:
        """F* <- gamma F* + F, with the anchor at the current parameters."""
        self.importance.replace(self._learnable().items(), fisher, self.options.decay)
