"""What the processes of one run exchange; with a single process nothing is exchanged.

Numbers alone are exchanged, as tensors: nothing is unpickled. Batches, orders, steps and random
numbers are those of one process; the sums are made by several. docs/machines.md says what is equal
to the bit and what to rounding.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from cign.data.tasks import IntArray
from cign.errors import CignError, RunError
from cign.training.distributed.draws import WholeBatchDraws


@dataclass(frozen=True)
class Share:
    """This process's part of a batch.

    Attributes:
        rows: Where its clips stand in the batch, shape [n]; the first clip alone where it has none.
        total: Clips of the batch.
        fraction: Its clips over all; 0 where it has none.
    """

    rows: IntArray
    total: int
    fraction: float


@dataclass(frozen=True)
class Comm:
    """The processes of a run, as one of them sees them.

    With a single process, the default, every exchange does nothing.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there are no others."""
        return self.size == 1

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Make each tensor the sum over the processes, in place, the same bits in each."""
        self._exchange(tensors, dist.all_reduce)

    def move_to_first_(self, tensors: Iterable[Tensor]) -> None:
        """Give the first process the sum of each tensor, and the others zeros, in place."""
        tensors = list(tensors)
        self._exchange(tensors, lambda tensor: dist.reduce(tensor, dst=0))
        self.leave_to_first_(tensors)

    def leave_to_first_(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors that are the same everywhere to zero but in the first process, in place.

        From then on the truth is the sum over the processes, as `sum_` and `move_to_first_` want.
        """
        for tensor in tensors:
            if not self.is_first:
                tensor.zero_()

    def take_from_first_(self, tensors: Iterable[Tensor]) -> None:
        """Give each process the first one's values, in place."""
        self._exchange(tensors, lambda tensor: dist.broadcast(tensor, src=0))

    def first_says(self, value: bool) -> bool:
        """The first process's answer, in each."""
        flag = torch.tensor([int(value)])
        self.take_from_first_([flag])
        return bool(flag)

    def largest(self, value: int) -> int:
        """The largest of the processes' numbers."""
        flag = torch.tensor([value])
        self._exchange([flag], lambda tensor: dist.all_reduce(tensor, op=dist.ReduceOp.MAX))
        return int(flag)

    @contextlib.contextmanager
    def agreeing(self) -> Iterator[None]:
        """Do what is inside in all processes or in none: where one is refused, all stop.

        Raises:
            CignError: The process's own, or that another one was refused.
        """
        try:
            yield
        except CignError:
            self.largest(1)
            raise
        if self.largest(0):
            raise RunError(
                f"{self._name} stops because another process was refused: see its message"
            )

    def _exchange(self, tensors: Iterable[Tensor], how: Callable[[Tensor], object]) -> None:
        """Exchange tensors one after another.

        Raises:
            RunError: If another process does not answer.
        """
        if self.is_alone:
            return
        for tensor in tensors:
            dense = tensor.detach().contiguous()
            try:
                how(dense)
            except RuntimeError as error:  # also what torch.distributed raises
                raise RunError(
                    f"{self._name}: collective operation failed or timed out ({reason(error)}): "
                    "see the other processes' messages, then run the same command with --resume"
                ) from None
            if dense.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(dense)

    @property
    def _name(self) -> str:
        return f"rank {self.rank} of {self.size}"

    # ---------------------------------------------------------- parts of a batch

    def shares(self, batches: list[IntArray]) -> list[Share]:
        """This process's part of each batch: every ``size``-th clip."""
        first = np.zeros(1, dtype=np.int64)
        found = []
        for batch in batches:
            rows = np.arange(self.rank, len(batch), self.size)
            fraction = len(rows) / len(batch)
            found.append(Share(rows if len(rows) else first, len(batch), fraction))
        return found

    def draws(self, share: Share) -> contextlib.AbstractContextManager[object]:
        """Inside, random numbers of clips are those that they have in the whole batch."""
        return (
            contextlib.nullcontext() if self.is_alone else WholeBatchDraws(share.rows, share.total)
        )

    @torch.no_grad()
    def average_gradients_(self, optimizer: torch.optim.Optimizer, share: Share) -> None:
        """Make each gradient that of the batch's mean loss, in place, in one exchange."""
        if self.is_alone:
            return
        grads = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        flat = torch.cat([grad.reshape(-1) for grad in grads]).mul_(share.fraction)
        self.sum_([flat])
        parts = flat.split([grad.numel() for grad in grads])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view_as(grad))

    @torch.no_grad()
    def average_statistics_(self, module: nn.Module) -> None:
        """Make the running statistics that layers keep of batches their mean over the processes."""
        if self.is_alone:
            return
        running = [
            buffer
            for layer in module.modules()
            if isinstance(layer, nn.modules.batchnorm._NormBase)
            for buffer in (layer.running_mean, layer.running_var)
            if buffer is not None
        ]
        for buffer in running:
            buffer.div_(self.size)
        self.sum_(running)


def reason(error: Exception) -> str:
    """The first line of what the transport says, without its place in the source."""
    return re.sub(r"^\[\S+\] ?", "", str(error).splitlines()[0]).rstrip(". ")
