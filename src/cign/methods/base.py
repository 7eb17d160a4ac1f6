"""The interface of a method: hooks around a task, a batch and a step, and prediction.

The training loop uses only this interface. A gradient method returns losses from `learn`; a
closed-form method absorbs the batch there and returns None. The ``state_dict`` holds all state of a
method. Only `grow` determines its shapes, so a method is rebuilt by growing it task by task and
loading its state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from cign.backbones.base import Backbone
from cign.backbones.blocks import FrozenBlocks
from cign.data.exemplar_memory import ExemplarMemory, FloatArray
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.layers.fusion import Fusion
from cign.methods.output import Output, with_fusion
from cign.methods.phases import Phase
from cign.methods.recorded_clips import RecordedClips
from cign.networks.encoder import TokenShape

Losses = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Inputs from which a method is built.

    Attributes:
        shape: Shape of the tokens.
        backbone: Encoders to train end to end; None on cached tokens.
        blocks: Frozen transformers that process cached stem tokens, for methods that need them.
        multi_label: Whether clips may have several labels.
        bf16: Whether encoders and transformers compute products in bfloat16.
    """

    shape: TokenShape
    backbone: Backbone | None = None
    blocks: FrozenBlocks | None = None
    multi_label: bool = False
    bf16: bool = False


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of clips on the device.

    Attributes:
        audio: Cached tokens [B, N_a, D_a] or samples [B, L].
        visual: Cached tokens [B, N_v, D_v] or frames [B, K, S, S, 3].
        targets: Multi-hot labels over the classes seen so far, bool, shape [B, C].
        from_memory: Which clips arrived in earlier tasks, bool, shape [B]; see `of_old_classes`.
        indices: Clip indices in the store, int64, shape [B].
        weights: Weights of the clips, float64, shape [B]; None if all are 1.
        shares: Shares of the labels, float64, shape [B, C]; None if all labels are certain.
        background: Which clips have none of the classes, bool, shape [B]; None if no clip is one.
    """

    audio: Tensor
    visual: Tensor
    targets: Tensor
    from_memory: Tensor
    indices: IntArray
    weights: Tensor | None = None
    shares: Tensor | None = None
    background: Tensor | None = None

    @property
    def label_shares(self) -> Tensor:
        """The shares of the labels, or ``targets`` if all labels are certain, shape [B, C]."""
        return self.targets if self.shares is None else self.shares

    @property
    def counted(self) -> Tensor:
        """What each clip adds to the number of clips of each class, shape [B, C]."""
        shares = self.label_shares
        return shares if self.weights is None else self.weights.unsqueeze(1) * shares

    @cached_property
    def labels(self) -> Tensor:
        """The first label of each clip, int64, shape [B]."""
        return self.targets.to(torch.uint8).argmax(dim=1)

    def moved(self, device: str | torch.device) -> Batch:
        """The batch on another device; copies from pinned memory do not wait."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        moved: dict[str, Any] = {
            name: x.to(device, non_blocking=True) for name, x in values if isinstance(x, Tensor)
        }
        return replace(self, **moved)

    def of_old_classes(self, num_old: int) -> Tensor:
        """Which clips have only classes known before the task, bool, shape [B].

        Exemplars, and in a blurry stream also new clips of old classes.
        """
        return self.targets[:, num_old:].any(dim=1).logical_not()


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """Data of one task that a method may access.

    Attributes:
        task: Number of the task, from 0.
        num_old: Number of classes known before the task.
        num_new: Number of classes the task adds.
        new: Indices of its training clips; in a blurry stream some are of old classes.
        memory: Indices of the exemplars of earlier tasks.
        earlier: Indices of all training clips of earlier tasks; only for methods with
            ``replays_everything``, empty for all others.
        batches: Yields batches of the given clips in the given order, without augmentation.
        class_of: Returns the class that each clip counts for in memory (`TaskClips.class_of`); -1
            for background.
        sources: Returns the recordings that each clip was cut from.
        features: Returns the vectors of `Method.embed` of clips, float32, shape [N, E].
        bytes_per_clip: Bytes needed to store one clip in memory.
        seed: Seed of the run.
        identity: Returns what identifies clips, and their labels over the classes seen so far; None
            if it is unknown.
    """

    task: int
    num_old: int
    num_new: int
    new: IntArray
    memory: IntArray
    earlier: IntArray
    batches: Callable[[IntArray], Iterator[Batch]]
    class_of: Callable[[IntArray], IntArray]
    sources: Callable[[IntArray], list[tuple[str, ...]]]
    features: Callable[[IntArray], FloatArray]
    bytes_per_clip: int
    seed: int
    identity: Callable[[IntArray], RecordedClips] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes known after this task."""
        return self.num_old + self.num_new


class Method(nn.Module, ABC):
    """A class-incremental method.

    Class attributes:
        name: Name on the command line; set by `cign.methods.register_method`.
        Options: Dataclass of its options.
        supports_multi_label: Whether it can learn clips with several labels.
        supports_weights: Whether it can learn clips with weights and with shares of labels.
        supports_background: Whether it can learn clips with none of the classes.
        uses_memory: Whether it uses exemplars of old classes.
        needs_memory: Whether it requires exemplars of old classes.
        needs_whole_batch: Why the loss needs all clips of a batch at once, so that several
            processes cannot split a batch; empty if the loss is a mean over clips.
        sums_over_clips: Last components of the names of the buffers that are sums over clips;
            several processes add them up.
        needs_blocks: Whether it takes the tokens that enter a frozen transformer (``NAME-stem``).
        refused_streams: Why it cannot learn a stream, and the remedy, by the name of the stream or
            by stream and regime (``online end-to-end``).
        replays_everything: Whether it may use all clips of earlier tasks (only `joint`).
        order_matters: Whether the final state depends on the order of the classes; see also
            `depends_on_order`.
        seed_matters: Whether it draws random numbers from the seed of the run.
        regimes: Supported regimes: cached tokens (``frozen``) and trained encoders
            (``end-to-end``).

    Attributes:
        setup: Inputs from which the method was built.
        options: Its options.
        fusion: How `forward` makes the audio-visual prediction.
        class_counts: Number of classes added by each task so far.
        data: Data of the task that is being learned; None outside of training.
    """

    name: ClassVar[str]
    Options: ClassVar[type]
    supports_multi_label: ClassVar[bool] = True
    supports_weights: ClassVar[bool] = False
    supports_background: ClassVar[bool] = False
    uses_memory: ClassVar[bool] = True
    needs_memory: ClassVar[bool] = False
    needs_whole_batch: ClassVar[str] = ""
    sums_over_clips: ClassVar[frozenset[str]] = frozenset()
    sized_by_clips: ClassVar[frozenset[str]] = frozenset()
    needs_blocks: ClassVar[bool] = False
    refused_streams: ClassVar[Mapping[str, str]] = MappingProxyType({})
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
        # Methods of other packages need not have the option.
        self.fusion: Fusion = getattr(options, "fusion", Fusion())
        self.class_counts: list[int] = []
        self.data: TaskData | None = None

    @classmethod
    def check_regime(cls, options: Any, regime: str) -> None:
        """Reject options that the regime would ignore.

        Raises:
            InputError: Names the first such option.
        """

    @classmethod
    def least_weights(cls, options: Mapping[str, Any], shape: Mapping[str, Any]) -> tuple[str, int]:
        """Minimum number of values in the weights, checked before a model is built from a file.

        Args:
            options: Options from the description of a model, not validated.
            shape: Fields of `TokenShape`.

        Returns:
            The option that determines the number, for the error message, and the number.
        """
        return "", 0

    @classmethod
    def depends_on_order(cls, options: Any) -> bool:
        """Whether the final state depends on the order of the classes, with these options.

        Args:
            options: Options of the method.
        """
        return cls.order_matters

    @classmethod
    def stream_reason(cls, stream: str, regime: str) -> str:
        """Why the method cannot learn a stream in a regime; empty if it can."""
        reasons = cls.refused_streams
        return reasons.get(stream, reasons.get(f"{stream} {regime}", ""))

    def whole_batch_reason(self, *, keeps_clips: bool) -> str:
        """Why several processes cannot split the batches of this method; empty if they can.

        Args:
            keeps_clips: Whether the run has a memory.
        """
        return self.needs_whole_batch

    @property
    def num_classes(self) -> int:
        """Number of classes known now."""
        return sum(self.class_counts)

    @property
    def needs_only_means(self) -> bool:
        """Whether the mean of a clip's cached tokens suffices.

        `Batch` and `predict` may then contain means, [B, 1, D], instead of tokens.
        """
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a run prints, for example on parts that the options leave inactive."""
        return ()

    @property
    def state_bytes(self) -> int:
        """Bytes stored about earlier clips besides the exemplars, for example statistics."""
        return 0

    def grow(self, num_new: int) -> None:
        """Extend shapes by ``num_new`` classes; values come from training or loading.

        Overrides call this last, so that ``num_classes`` counts only the old classes until then.
        """
        self.class_counts.append(num_new)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Resize the buffers of ``sized_by_clips`` to the shapes of a state to load.

        Args:
            state: Tensors by name.
        """
        for name in self.sized_by_clips & state.keys():
            self.register_buffer(name, torch.empty_like(state[name]))

    def before_task(self, data: TaskData) -> None:
        """Prepare for a task, after `grow`."""

    @abstractmethod
    def phases(self, data: TaskData) -> list[Phase]:
        """The training phases of a task; every call returns the same list."""

    @abstractmethod
    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Learn from a batch.

        Returns:
            Named losses whose sum is minimised, or None if the batch was absorbed.
        """

    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Modify gradients before the optimizer step, for example by projection (GEM).

        Perturbation (SAM) is another use.

        Args:
            optimizer: Optimizer of the phase; the ``grad`` of the parameters is set.
        """

    def before_scoring(self) -> None:
        """Bring `predict` up to date in the middle of a task, where an online stream is evaluated.

        It must not change what is learned afterwards.
        """

    def after_task(self, data: TaskData) -> None:
        """Finish a task, before exemplars are selected and the test clips are evaluated."""

    def choose_exemplars(self, memory: ExemplarMemory, data: TaskData) -> None:
        """Add exemplars of the task's classes to the memory, by herding or at random by default.

        New clips of old classes, which a blurry stream has, fill room that their class has left.

        Args:
            memory: Memory to modify; its budget is above 0.
            data: As in `after_task`.
        """
        classes = data.class_of(data.new)
        of_old = np.unique(classes[classes < data.num_old]).tolist()
        new = range(data.num_old, data.num_classes)
        candidates = {c: data.new[classes == c] for c in (*of_old, *new)}
        memory.update(candidates, data.num_classes, data.bytes_per_clip, data.features)

    def after_memory(self, data: TaskData) -> None:
        """Update state from the exemplars, after those of the task's classes were added.

        Args:
            data: As in `after_task`, but with the updated memory.
        """

    @abstractmethod
    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Predict the classes of clips, without gradients and in evaluation mode.

        Callers use `forward`, which applies the option ``fusion``.

        Args:
            audio: As in `Batch`.
            visual: As in `Batch`.
        """

    def forward(self, audio: Tensor, visual: Tensor) -> Output:
        """`predict`, with the audio-visual prediction made as the option ``fusion`` says."""
        output = self.predict(audio, visual)
        return with_fusion(output, self.fusion, multi_label=self.setup.multi_label)

    @abstractmethod
    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Embed clips as one vector each, shape [B, E]; herding selects exemplars by it."""

    def settle(self) -> None:
        """Precompute values that `predict` derives from the state at every call, for export.

        It is called on a copy that is not trained any more.
        """


def refuse_multi_label(name: str, remedy: str = "use finetune or ewc") -> NoReturn:
    """Reject clips with several labels for a method that does not support them.

    Raises:
        InputError: Always.
    """
    raise InputError(
        "unsupported", f"{name} takes clips of one label, this store has some of several: {remedy}"
    )


class GradientMethod(Method):
    """A method with one training phase on the new clips and the exemplars."""

    def phases(self, data: TaskData) -> list[Phase]:
        """See `Method`."""
        indices = np.concatenate([data.earlier, data.memory, data.new])
        return [Phase(name="train", indices=indices, options=self.options.training)]
