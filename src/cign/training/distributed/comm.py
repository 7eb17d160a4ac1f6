"""Collective operations of the processes of one run; no-ops with a single process.

Only tensors of numbers are exchanged: nothing is unpickled. Batches, orders, steps and random
numbers are the same as with one process; only sums are computed in parts. docs/machines.md lists
what is bit-exact and what is equal up to rounding.
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
from cign.utils.seeding import rows_of_batch


@dataclass(frozen=True)
class Share:
    """This process's part of a batch.

    Attributes:
        rows: Positions of its clips in the batch, shape [n]; only the first clip if it has none.
        total: Number of clips in the batch.
        fraction: Number of its clips over ``total``; 0 if it has none.
    """

    rows: IntArray
    total: int
    fraction: float


@dataclass(frozen=True)
class Comm:
    """The process group of a run, seen from one rank.

    With a single process, the default, every operation is a no-op.

    Attributes:
        rank: Rank of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether this is the only process."""
        return self.size == 1

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """All-reduce each tensor in place; the result is bit-exact on all ranks."""
        self._exchange(tensors, dist.all_reduce)

    def move_to_first_(self, tensors: Iterable[Tensor]) -> None:
        """Reduce each tensor to rank 0 in place, and set it to zero on the others."""
        tensors = list(tensors)
        self._exchange(tensors, lambda tensor: dist.reduce(tensor, dst=0))
        self.leave_to_first_(tensors)

    def leave_to_first_(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors that are equal on all ranks to zero except on rank 0, in place.

        Their value is then the sum over the ranks, as `sum_` and `move_to_first_` expect.
        """
        for tensor in tensors:
            if not self.is_first:
                tensor.zero_()

    def take_from_first_(self, tensors: Iterable[Tensor]) -> None:
        """Broadcast the values of rank 0 to all ranks, in place."""
        self._exchange(tensors, lambda tensor: dist.broadcast(tensor, src=0))

    def first_says(self, value: bool) -> bool:
        """The value of rank 0, on every rank."""
        flag = torch.tensor([int(value)])
        self.take_from_first_([flag])
        return bool(flag)

    def largest(self, value: int) -> int:
        """The maximum over the ranks."""
        flag = torch.tensor([value])
        self._exchange([flag], lambda tensor: dist.all_reduce(tensor, op=dist.ReduceOp.MAX))
        return int(flag)

    @contextlib.contextmanager
    def agreeing(self) -> Iterator[None]:
        """Run a block on all ranks or on none: if it fails on one rank, all ranks stop.

        Raises:
            CignError: This rank's own error, or that another rank failed.
        """
        try:
            yield
        except CignError:
            self.largest(1)
            raise
        if self.largest(0):
            raise RunError(
                "process-failed",
                f"{self._name} stopped because another rank failed: see its message",
            )

    def _exchange(self, tensors: Iterable[Tensor], how: Callable[[Tensor], object]) -> None:
        """Apply a collective operation to each tensor.

        Raises:
            RunError: If it fails or times out.
        """
        if self.is_alone:
            return
        for tensor in tensors:
            dense = tensor.detach().contiguous()
            try:
                how(dense)
            except RuntimeError as error:  # the base class of torch.distributed's errors
                raise RunError(
                    "process-failed",
                    f"{self._name}: collective operation failed or timed out ({reason(error)}): "
                    "see the messages of the other ranks, then run the same command with --resume",
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
        """Context in which each clip gets the random numbers it has in the whole batch."""
        return contextlib.nullcontext() if self.is_alone else rows_of_batch(share.rows, share.total)

    @torch.no_grad()
    def average_gradients_(self, optimizer: torch.optim.Optimizer, share: Share) -> None:
        """Turn each gradient into that of the batch's mean loss, in place, in one all-reduce."""
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
        """Average the running batch-norm statistics over the ranks."""
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
    """The first line of a transport error, without its source location."""
    return re.sub(r"^\[\S+\] ?", "", str(error).splitlines()[0]).rstrip(". ")
