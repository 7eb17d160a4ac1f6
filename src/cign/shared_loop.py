"""The loop of `cign.train`, shared by several processes: every one takes some clips of each batch.

Batches, orders, steps and random numbers are those of one process; the sums are made by several.
A gradient step takes the mean of the processes' gradients, weighted by their clips; sums of closed
forms are added before they are solved; exemplars are chosen from features that are gathered; test
clips are scored in shares. What is done once per task on few clips (a Fisher information, means of
exemplars) every process does in whole. docs/machines.md says what is equal to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cign.data.batches import cut
from cign.draws import WholeBatchDraws
from cign.errors import InputError
from cign.interrupts import Interrupts
from cign.loss_text import loss_of_epoch
from cign.methods.base import READINGS, Batch, Method, TaskData
from cign.methods.phases import Phase
from cign.peers import Peers
from cign.scoring import EVALUATION_BATCH, score_clips
from cign.shared_feed import SharedBatch, SharedFeed
from cign.train import Loop

# Steps between the moments at which the first process may save within a phase.
SAVE_EVERY_STEPS = 16


@dataclass(kw_only=True)
class SharedLoop(Loop):
    """One run by several processes; see `cign.train.Loop`.

    Attributes:
        peers: The processes.

    Raises:
        InputError: If the method needs all clips of a batch at once.
    """

    peers: Peers

    def __post_init__(self) -> None:
        refuse_whole_batch(self.method, keeps_clips=self.memory.budget.amount > 0)
        super().__post_init__()
        self._interrupts = Interrupts(holds=False)  # to save, all would have to be at one step
        self._is_partial = False  # whether sums are this process's part of the truth
        self._absorbs = False
        self._share = 1.0
        self._shared_optimizer: torch.optim.Optimizer | None = None

    @property
    def _feed(self) -> SharedFeed:
        return SharedFeed(
            clips=self.clips, source=self.source, device=self.device, peers=self.peers
        )

    def _task_data(self, task: int) -> TaskData:
        """What a method reads on its own account it reads in whole, in every process."""
        feed = self._feed.alone
        return replace(
            super()._task_data(task),
            batches=lambda indices: feed.batches(cut(indices, EVALUATION_BATCH), task),
        )

    def _run_phase(self, task: int, number: int, phase: Phase) -> None:
        """Pass over a phase's clips; sums are parts until it is over."""
        self._is_partial = True
        self._absorbs = not phase.updates
        self.peers.leave_to_first_(self._parts())
        super()._run_phase(task, number, phase)
        if not self._stopping():
            self.peers.add_(self._parts())
            self._average_statistics()
            self._is_partial = False

    def _step(self, batch: Batch, phase: Phase) -> None:
        """Learn from this process's clips of a batch; losses and gradients become the batch's."""
        assert isinstance(batch, SharedBatch)
        if self._absorbs and not batch.share:
            self.place = replace(self.place, step=self.place.step + 1)
            self._steps_done += 1
            return
        if self._optimizer is not None and self._optimizer is not self._shared_optimizer:
            self._optimizer.register_step_pre_hook(self._share_gradients)
            self._shared_optimizer = self._optimizer
        self._share = batch.share
        earlier, self._sums = self._sums, {}
        before = self._marks() if self._absorbs else {}
        with WholeBatchDraws(batch.rows, batch.total):
            super()._step(batch, phase)
        if self._absorbs:
            self._check_sums(before)
        for name, value in self._sums.items():
            total = earlier.get(name, torch.zeros_like(value))
            earlier[name] = total + batch.share * value
        self._sums = earlier

    @torch.no_grad()
    def _share_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Give every process the gradient of the batch's mean loss, in one exchange."""
        grads = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        flat = torch.cat([grad.reshape(-1) for grad in grads]).mul_(self._share)
        self.peers.add_([flat])
        parts = flat.split([grad.numel() for grad in grads])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view_as(grad))

    def _loss_text(self) -> str:
        """Of whole epochs alone: in between each process knows its own clips' part."""
        return loss_of_epoch(self.losses, self.place.task)

    def _end_epoch(self, task: int, phase: Phase, epoch: int) -> None:
        """Note the epoch's mean losses, of all clips, in every process."""
        self.peers.add_(self._sums.values())
        super()._end_epoch(task, phase, epoch)

    def _score(self, task: int) -> None:
        """Score the test clips, each process some batches of them."""
        self.peers.take_from_first_(self._state())
        self.progress.start(f"task {task + 1} test", len(self.test))
        self.predictions.add_task(self._shared_scores())
        if self.predictions_path is not None:
            self.predictions.save(self.predictions_path)

    def _shared_scores(self) -> dict[str, NDArray[np.float32]]:
        """Scores of all test clips by reading, shape [N, C]; batches are those of one process."""
        shape = (len(self.test), self.method.num_classes)
        scores = {reading: np.zeros(shape, dtype=np.float32) for reading in READINGS}
        places = cut(np.arange(len(self.test)), EVALUATION_BATCH)
        source = self.test_source or self.source
        for number, place in enumerate(places):
            if number % self.peers.number == self.peers.rank:
                own = score_clips(self.method, source, self.test[place], self.device)
                for reading in READINGS:
                    scores[reading][place] = own[reading]
            self.progress.advance(len(place))
        self.peers.add_(torch.from_numpy(scores[reading]) for reading in READINGS)
        return scores

    # ------------------------------------------------------------- checkpoints

    def _due(self) -> bool:
        """Whether the first process says that it is time for a checkpoint."""
        if self._steps_done % SAVE_EVERY_STEPS:
            return False
        return self.peers.first_says(super()._due())

    def save(self) -> None:
        """Write all state, in the first process; parts of sums move there."""
        if self._is_partial:
            self._average_statistics()
            self.peers.move_to_first_(self._parts())
        super().save()

    def _marks(self) -> dict[str, tuple[int, int]]:
        """Which tensor each buffer is, and how often it was written to."""
        return {name: (id(x), x._version) for name, x in self.method.named_buffers()}

    def _check_sums(self, before: dict[str, tuple[int, int]]) -> None:
        """Refuse a closed form that takes clips into what would not be added up.

        Raises:
            InputError: With the first such buffer.
        """
        after = self._marks()
        moved = [name for name, mark in after.items() if before.get(name) != mark]
        sums = self.method.sums_over_clips
        odd = [name for name in moved if name.rpartition(".")[2] not in sums]
        if odd:
            raise InputError(
                f"method {self.method.name} takes clips into {odd[0]}, which several processes do "
                "not add up: name it in its sums_over_clips, or train it in one process"
            )

    def _parts(self) -> list[Tensor]:
        """What is a process's part of a sum within a phase."""
        sums = list(self._sums.values())
        if self._absorbs:
            buffers = self.method.named_buffers()
            names = self.method.sums_over_clips
            sums += [buffer for name, buffer in buffers if name.rpartition(".")[2] in names]
        return sums

    @torch.no_grad()
    def _average_statistics(self) -> None:
        """Give every process the mean of the running statistics that layers keep of batches."""
        running = [
            buffer
            for module in self.method.modules()
            if isinstance(module, nn.modules.batchnorm._NormBase)
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]
        for buffer in running:
            buffer.div_(self.peers.number)
        self.peers.add_(running)

    def _state(self) -> list[Tensor]:
        """All tensors of the method."""
        return list(self.method.state_dict().values())


def refuse_whole_batch(method: Method, *, keeps_clips: bool) -> None:
    """Refuse a method whose loss is not a mean over clips, which shares cannot make.

    Raises:
        InputError: Naming the reason.
    """
    why = method.whole_batch_reason(keeps_clips=keeps_clips)
    if why:
        raise InputError(
            f"method {method.name} cannot be trained by several processes ({why}): run it in one"
        )
