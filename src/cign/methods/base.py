"""The interface of a method: its hooks around a task, a batch and a step, and its prediction.

The training loop knows only what is defined here. A gradient method returns losses from `learn`; a
closed-form method absorbs the batch there and returns None. All state of a method is in its
``state_dict``; `grow` alone decides the shapes, so that a method is rebuilt by growing it task by
task and loading its state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from cign.backbones.base import Backbone
from cign.backbones.blocks import FrozenBlocks
from cign.data.exemplar_memory import ExemplarMemory, FloatArray
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.methods.phases import Phase
from cign.networks.encoder import TokenShape

Losses = dict[str, Tensor]
ByModality = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a method predicts for a batch: the only path from clips to a probability.

    Prediction on files, evaluation, scores for unknown clips, localization maps and export read
    nothing else of a method.

    Attributes:
        probabilities: For ``audio``, ``visual`` and ``audio_visual`` a probability for each class
            seen, shape [B, C].
        logits: What the probabilities were computed from, by modality, shape [B, C]; empty where a
            method has no logits.
        assignment: For ``audio`` [B, N_a, C] and ``visual`` [B, N_v, C], how tokens are assigned to
            classes; empty where a method assigns none.
        features: For ``audio`` and ``visual`` the rows [B, W] that a closed form's Gram matrices
            are sums of; empty for all other methods.
    """

    probabilities: ByModality
    logits: ByModality = field(default_factory=dict)
    assignment: ByModality = field(default_factory=dict)
    features: ByModality = field(default_factory=dict)


def output_from_logits(logits: ByModality, *, multi_label: bool = False) -> Output:
    """Probabilities by soft-max, or by a sigmoid per class where clips have several labels.

    Args:
        logits: By modality, shape [B, C].
        multi_label: Whether clips may have several labels.
    """
    if multi_label:
        probabilities = {name: values.sigmoid() for name, values in logits.items()}
    else:
        probabilities = {name: values.softmax(dim=-1) for name, values in logits.items()}
    return Output(probabilities=probabilities, logits=logits)


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
        features: Gives the vectors of `Method.embed` of clips, float32, shape [N, E].
        bytes_per_clip: What keeping one clip costs.
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
    features: Callable[[IntArray], FloatArray]
    bytes_per_clip: int
    seed: int

    @property
    def num_classes(self) -> int:
        """Classes known with this task."""
        return self.num_old + self.num_new


class Method(nn.Module, ABC):
    """A class-incremental method.

    Class attributes:
        name: Name on the command line; set by `cign.methods.register_method`.
        Options: Dataclass of its options.
        supports_multi_label: Whether it can learn clips of several labels.
        uses_memory: Whether exemplars of old classes make a difference.
        needs_memory: Whether it requires them.
        needs_whole_batch: Why its loss needs all clips of a batch at once, so that several
            processes cannot share one; empty where its loss is a mean over clips.
        sums_over_clips: Last parts of the names of the buffers that are sums over clips, which
            several processes add up.
        needs_blocks: Whether it reads the tokens that enter a frozen transformer (``NAME-stem``).
        replays_everything: Whether it may see all clips of earlier tasks (`joint` alone).
        order_matters: Whether what it knows at the end depends on the order of the classes.
        seed_matters: Whether it draws anything from the run's seed.
        regimes: Where it runs: on cached tokens (``frozen``), with encoders (``end-to-end``).

    Attributes:
        setup: What the method is built on.
        options: Its options.
        class_counts: Classes that each task so far has brought.
        data: What the method may see of the task that is being learned; None outside of training.
    """

    name: ClassVar[str]
    Options: ClassVar[type]
    supports_multi_label: ClassVar[bool] = True
    uses_memory: ClassVar[bool] = True
    needs_memory: ClassVar[bool] = False
    needs_whole_batch: ClassVar[str] = ""
    sums_over_clips: ClassVar[frozenset[str]] = frozenset()
    sized_by_clips: ClassVar[frozenset[str]] = frozenset()
    needs_blocks: ClassVar[bool] = False
    replays_everything: ClassVar[bool] = False
    order_matters: ClassVar[bool] = True
    seed_matters: ClassVar[bool] = True
    needs_float64: ClassVar[bool] = False
    regimes: ClassVar[tuple[str, ...]] = ("frozen", "end-to-end")

    def __init__(self, setup: Setup, options: Any) -> None:
        super().__init__()
        if setup.multi_label and not self.supports_multi_label:
            refuse_multi_label(self.name)
        self.setup = setup
        self.options = options
        self.class_counts: list[int] = []
        self.data: TaskData | None = None

    @classmethod
    def check_regime(cls, options: Any, regime: str) -> None:
        """Refuse options that the regime would ignore.

        Raises:
            InputError: Naming the first.
        """

    @classmethod
    def least_weights(cls, options: Mapping[str, Any], shape: Mapping[str, Any]) -> tuple[str, int]:
        """How many values the weights hold at least, checked before anything is built from a file.

        Args:
            options: As read from a model's description, unchecked.
            shape: Fields of `TokenShape`.

        Returns:
            What asks for them, for the error message, and their number.
        """
        return "", 0

    def whole_batch_reason(self, *, keeps_clips: bool) -> str:
        """Why several processes cannot share this method's batches; empty if they can.

        Args:
            keeps_clips: Whether the run has a memory.
        """
        return self.needs_whole_batch

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

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Give the buffers of ``sized_by_clips`` the shapes of a state that is to be loaded.

        Args:
            state: By name.
        """
        for name in self.sized_by_clips & state.keys():
            self.register_buffer(name, torch.empty_like(state[name]))

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

    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Change gradients before the optimizer's step: projection (GEM), perturbation (SAM).

        Args:
            optimizer: Of the phase; the parameters' ``grad`` are set.
        """

    def after_task(self, data: TaskData) -> None:
        """Finish a task, before exemplars are chosen and the test clips are read."""

    def choose_exemplars(self, memory: ExemplarMemory, data: TaskData) -> None:
        """Let the memory take clips of the task's classes; by herding or at random by default.

        Args:
            memory: Is changed; its budget is above 0.
            data: As for `after_task`.
        """
        classes = data.class_of(data.new)
        candidates = {c: data.new[classes == c] for c in range(data.num_old, data.num_classes)}
        memory.update(candidates, data.num_classes, data.bytes_per_clip, data.features)

    def after_memory(self, data: TaskData) -> None:
        """Take note of the exemplars, once those of the task's classes are among them.

        Args:
            data: As for `after_task`, but with the memory as it is kept from now on.
        """

    @abstractmethod
    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Predict the classes of clips, without gradients and in evaluation mode.

        Args:
            audio: As in `Batch`.
            visual: As in `Batch`.
        """

    @abstractmethod
    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """One vector for each clip, shape [B, E]: what herding picks exemplars by."""

    def settle(self) -> None:
        """Compute once what `predict` derives from the state at every call, for export.

        Called on a copy that learns no more.
        """


def refuse_multi_label(name: str, remedy: str = "use finetune or ewc") -> NoReturn:
    """Refuse clips of several labels for a method that has no form for them.

    Raises:
        InputError: Always.
    """
    raise InputError(f"{name} takes clips of one label, this store has some of several: {remedy}")


class GradientMethod(Method):
    """A method with one phase of training on the new clips and the exemplars."""

    def phases(self, data: TaskData) -> list[Phase]:
        """See `Method`."""
        indices = np.concatenate([data.earlier, data.memory, data.new])
        return [Phase(name="train", indices=indices, options=self.options.training)]
