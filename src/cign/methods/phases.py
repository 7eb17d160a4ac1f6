"""Training phases within a task, each with its optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from cign.data.batches import cut
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.utils.options import refuse_ignored


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a gradient method is trained on a task.

    Attributes:
        num_epochs: Passes over the clips of the task.
        min_steps: Minimum number of steps; passes are added until it is reached.
        batch_size: Clips per step.
        learning_rate: Maximum learning rate of the schedule.
        encoder_rate: Factor on the learning rate of the encoder weights; 1 uses the same rate for
            all weights. Ours; with cached tokens there are no such weights.
        weight_decay: Decoupled (adamw) or added to the gradient (sgd); adam takes none.
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        schedule: ``constant``, ``cosine`` to zero, or ``one_cycle`` (linear rise over the first
            tenth, then cosine to zero).
        max_grad_norm: Gradients are scaled down to at most this norm; None disables clipping.
    """

    num_epochs: int = 20
    min_steps: int = 0
    batch_size: int = 32
    learning_rate: float = 1e-3
    encoder_rate: float = 1.0
    weight_decay: float = 0.0
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        """Reject invalid values and options that would be ignored."""
        for name, least in (("num_epochs", 1), ("min_steps", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(
                    "bad-value", f"{name} {getattr(self, name)} is too small: use {least} or more"
                )
        if not 0.0 < self.learning_rate < math.inf:
            raise InputError(
                "bad-value", f"learning_rate {self.learning_rate} is not positive: use 1e-3, say"
            )
        if not 0.0 < self.encoder_rate < math.inf:
            raise InputError(
                "bad-value", f"encoder_rate {self.encoder_rate} is not positive: use 0.1, say"
            )
        if self.weight_decay < 0.0:
            raise InputError(
                "bad-value", f"weight_decay {self.weight_decay} is negative: use 0 or more"
            )
        if self.max_grad_norm is not None and not self.max_grad_norm > 0.0:
            raise InputError(
                "bad-value", f"max_grad_norm {self.max_grad_norm} is not positive: use 1, say"
            )
        if self.optimizer == "adam":
            refuse_ignored(self, ("weight_decay",), "optimizer adam", "use optimizer adamw")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One training phase within a task: clips, passes, optimizer.

    Attributes:
        name: Name for the log.
        indices: Indices of the clips to train on, shape [n].
        options: Optimizer and schedule.
        updates: False if `Method.learn` absorbs batches and no parameter is optimised.
        trained: Prefixes of the names of the parameters to train; all by default.
        replay: Indices of clips to add to the batches, shape [m]; a pass is still over ``indices``.
        num_replay: Number of ``replay`` clips added to each batch.
    """

    name: str
    indices: IntArray
    options: TrainingOptions
    updates: bool = True
    trained: tuple[str, ...] = ("",)
    replay: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    num_replay: int = 0

    def batches(self, rng: np.random.Generator) -> list[IntArray]:
        """The batches of one pass in order; they depend only on the state of the generator.

        In a pass, the numbers of times that two ``replay`` clips occur differ by at most one.
        """
        batches = cut(rng.permutation(self.indices), self.options.batch_size)
        num_drawn = self.num_replay * len(batches) if len(self.replay) else 0
        if num_drawn == 0:
            return batches
        rounds = math.ceil(num_drawn / len(self.replay))
        drawn = np.concatenate([rng.permutation(self.replay) for _ in range(rounds)])[:num_drawn]
        parts = drawn.reshape(len(batches), self.num_replay)
        return [np.concatenate(pair) for pair in zip(batches, parts, strict=True)]

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass; a last batch of one clip is merged into the batch before it."""
        size = self.options.batch_size
        full, rest = divmod(len(self.indices), size)
        return max(1, full + (rest > 1 or (rest == 1 and full == 0)))

    @property
    def num_epochs(self) -> int:
        """Number of passes, including those added for ``min_steps``."""
        return max(
            self.options.num_epochs, math.ceil(self.options.min_steps / self.steps_per_epoch)
        )

    def learning_rate(self, step: int) -> float:
        """The learning rate of step ``step`` of the phase, from 0; it depends only on the step."""
        options, total = self.options, self.num_epochs * self.steps_per_epoch
        if options.schedule == "constant":
            return options.learning_rate
        rise = total // 10 if options.schedule == "one_cycle" else 0
        if step < rise:
            return options.learning_rate * (step + 1) / rise
        progress = (step - rise) / max(1, total - rise)
        return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def check_old_share(method: str, share: float, options: TrainingOptions) -> None:
    """Reject a share of old clips that leaves no place for old or for new ones in a batch.

    Args:
        method: Name of the method, for the message.
        share: Share of old clips in each batch.
        options: Options of the phase.
    """
    if not 0.0 < share < 1.0 or options.batch_size < 2:
        raise InputError(
            "bad-value",
            f"{method} needs old and new clips in each batch, not old_share {share} "
            f"of {options.batch_size}: use a share between 0 and 1 and 2 clips or more",
        )


def num_old_clips(share: float, batch_size: int) -> int:
    """Number of old clips in a batch, at least one and not all."""
    return min(batch_size - 1, max(1, round(share * batch_size)))


def replay_phase(new: IntArray, memory: IntArray, options: TrainingOptions, num_old: int) -> Phase:
    """A phase of passes over the new clips, with a fixed number of exemplars in each batch.

    Args:
        new: Indices of the new clips.
        memory: Indices of the exemplars; without any, batches have new clips only.
        options: Options of the phase; ``batch_size`` counts new and old clips.
        num_old: Number of old clips in each batch.
    """
    if len(memory) == 0:
        return Phase(name="train", indices=new, options=options)
    options = replace(options, batch_size=options.batch_size - num_old)
    return Phase(name="train", indices=new, options=options, replay=memory, num_replay=num_old)


def make_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], options: TrainingOptions
) -> torch.optim.Optimizer:
    """Build the optimizer of a phase; call `set_learning_rate` at every step.

    Fused optimizers update all weights in one pass: same formulas, slightly different rounding.

    Args:
        parameters: Names and weights; the encoder weights are those of the backbone of an
            `Encoder`.
        options: Options of the phase.
    """
    rate, decay = options.learning_rate, options.weight_decay
    groups = _groups(list(parameters), options.encoder_rate)
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, fused=True)
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=decay, fused=True)


def clip_gradients(optimizer: torch.optim.Optimizer, max_norm: float | None) -> None:
    """Scale the gradients down to a maximum norm, if one is given."""
    if max_norm is not None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, max_norm)


def _groups(parameters: list[tuple[str, nn.Parameter]], encoder_rate: float) -> list[Any]:
    """Group weights by learning rate; a single group if all have the same."""
    if encoder_rate == 1.0:
        return [{"params": [weight for _, weight in parameters], "share": 1.0}]
    encoders = [weight for name, weight in parameters if "backbone" in name.split(".")]
    others = [weight for name, weight in parameters if "backbone" not in name.split(".")]
    groups = [{"params": others, "share": 1.0}, {"params": encoders, "share": encoder_rate}]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group, multiplied by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def clear_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Drop the gradients, as ``zero_grad`` does, without its record for profilers."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None
