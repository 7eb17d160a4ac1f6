"""What a method is: what it does before a task, with a batch, after a task, and how it predicts.

The loop in `cign.train` knows only what stands here. A gradient method returns losses from
`learn`; a closed-form method absorbs the batch there and returns None. All state a method owns is
in its ``state_dict``; `grow` alone decides the shapes, so a method is rebuilt by growing it task
by task and loading its state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cign.data.tasks import IntArray
from cign.methods.phases import Phase
from cign.models.backbone import Backbone
from cign.models.blocks import FrozenBlocks
from cign.models.encoder import TokenShape

READINGS = ("audio", "visual", "audio_visual")
Losses = dict[str, Tensor]
Scores = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a method is built on.

    Attributes:
        shape: Shape of the tokens.
        backbone: None on cached tokens; else the encoders, to be trained end to end.
        blocks: The frozen transformers that cached stem tokens enter, for methods that need them.
        multi_label: Whether clips may carry several labels.
        bf16: Whether encoders and transformers multiply in bfloat16.
    """

    shape: TokenShape
    backbone: Backbone | None = None
    blocks: FrozenBlocks | None = None
    multi_label: bool = False
    bf16: bool = False


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Clips on the device.

    Attributes:
        audio: Cached tokens [B, N_a, D_a] or samples [B, L].
        visual: Cached tokens [B, N_v, D_v] or frames [B, K, S, S, 3].
        targets: Multi-hot labels over the classes seen so far, bool, shape [B, C].
        from_memory: Which clips are exemplars of earlier tasks, bool, shape [B].
        indices: Clip indices in the store, int64, shape [B].
    """

    audio: Tensor
    visual: Tensor
    targets: Tensor
    from_memory: Tensor
    indices: IntArray

    @property
    def labels(self) -> Tensor:
        """The first label of each clip, int64, shape [B]."""
        return self.targets.to(torch.uint8).argmax(dim=1)


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """What a method may see of one task.

    Attributes:
        task: Number of the task, from 0.
        num_old: Classes known before it.
        num_new: Classes it brings.
        new: Its training clips.
        memory: Exemplars of earlier tasks.
        earlier: All training clips of earlier tasks; only for methods with
            ``replays_everything``, empty for all others.
        batches: Gives batches of clips in the order of their indices, without augmentation.
        class_of: Gives for each clip the class it counts for in the memory (`TaskClips.class_of`).
        seed: Of the run.
    """

    task: int
    num_old: int
    num_new: int
    new: IntArray
    memory: IntArray
    earlier: IntArray
    batches: Callable[[IntArray], Iterator[Batch]]
    class_of: Callable[[IntArray], IntArray]
    seed: int

    @property
    def num_classes(self) -> int:
        """Classes known with this task."""
        return self.num_old + self.num_new


class Method(nn.Module, ABC):
    """A class-incremental method.

    Class attributes:
        name: As on the command line.
        Options: Dataclass of its options.
        uses_memory: Whether exemplars of old classes make a difference.
        needs_memory: Whether it cannot do without them.
        needs_blocks: Whether it reads the tokens that enter a frozen transformer (``NAME-stem``).
        replays_everything: Whether it may see all clips of earlier tasks (`joint` alone).
        order_matters: Whether what it knows at the end depends on the order of the classes.
        seed_matters: Whether it draws anything from the run's seed.
        regimes: Where it runs: on cached tokens (``frozen``), with encoders (``end-to-end``).
    """

    name: ClassVar[str]
    Options: ClassVar[type]
    uses_memory: ClassVar[bool] = True
    needs_memory: ClassVar[bool] = False
    needs_blocks: ClassVar[bool] = False
    replays_everything: ClassVar[bool] = False
    order_matters: ClassVar[bool] = True
    seed_matters: ClassVar[bool] = True
    needs_float64: ClassVar[bool] = False
    regimes: ClassVar[tuple[str, ...]] = ("frozen", "end-to-end")

    def __init__(self, setup: Setup, options: Any) -> None:
        super().__init__()
        self.setup = setup
        self.options = options
        self.class_counts: list[int] = []

    @classmethod
    def check_regime(cls, options: Any, regime: str) -> None:
        """Refuse options that the regime would ignore.

        Raises:
            InputError: Naming the first.
        """

    @property
    def num_classes(self) -> int:
        """Classes known now."""
        return sum(self.class_counts)

    @property
    def state_bytes(self) -> int:
        """Bytes kept of earlier clips besides the exemplars, for example statistics."""
        return 0

    def grow(self, num_new: int) -> None:
        """Make room for ``num_new`` classes: shapes only, values come from training or loading.

        Overrides call this last, so that ``num_classes`` counts the old classes until then.
        """
        self.class_counts.append(num_new)

    def before_task(self, data: TaskData) -> None:
        """Prepare for a task; `grow` has been called."""

    @abstractmethod
    def phases(self, data: TaskData) -> list[Phase]:
        """The stretches of training of a task; the same list whenever it is asked for."""

    @abstractmethod
    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Learn from a batch.

        Returns:
            Named losses whose sum is to be minimised, or None where the batch was absorbed.
        """

    def after_task(self, data: TaskData) -> None:
        """Finish a task, before exemplars are chosen and the test clips are read."""

    def after_memory(self, data: TaskData) -> None:
        """Take note of the exemplars, once those of the task's classes are among them.

        Args:
            data: As for `after_task`, but with the memory as it is kept from now on.
        """

    @abstractmethod
    def predict(self, audio: Tensor, visual: Tensor) -> Scores:
        """Read clips, without gradients and in evaluation mode.

        Args:
            audio: As in `Batch`.
            visual: As in `Batch`.

        Returns:
            For each reading a probability for each class seen, shape [B, C].
        """

    @abstractmethod
    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """One vector for each clip, shape [B, E]: what herding picks exemplars by."""


class GradientMethod(Method):
    """A method with one phase of training on the new clips and the exemplars."""

    def phases(self, data: TaskData) -> list[Phase]:
        """See `Method`."""
        indices = np.concatenate([data.earlier, data.memory, data.new])
        return [Phase(name="train", indices=indices, options=self.options.training)]
