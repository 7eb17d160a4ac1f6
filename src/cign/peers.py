"""Several processes that train one model together: who they are and what they say to each other.

`torchrun` starts them and tells each its rank in environment variables. Numbers alone are
exchanged, as tensors: nothing is unpickled. A process that fails, hangs or is killed ends the
others with a sentence, at once where its connections close, after the timeout where it hangs.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor

from cign.devices import AUTO
from cign.errors import CignError, InputError, RunError

TIMEOUT_S = 600.0
LAUNCH = "torchrun --nproc_per_node N -m cign.cli train ..."


@dataclass(frozen=True)
class Peers:
    """The processes of a run, as one of them sees them; alone, everything here does nothing.

    Attributes:
        rank: Number of this process, from 0.
        number: How many there are.
    """

    rank: int = 0
    number: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there are no others."""
        return self.number == 1

    def add_(self, tensors: Iterable[Tensor]) -> None:
        """Make each tensor the sum over the processes, in place, the same bits in each."""
        self._exchange(tensors, dist.all_reduce)

    def move_to_first_(self, tensors: Iterable[Tensor]) -> None:
        """Give the first process the sum of each tensor, and the others zeros, in place."""
        tensors = list(tensors)
        self._exchange(tensors, lambda tensor: dist.reduce(tensor, dst=0))
        self.leave_to_first_(tensors)

    def leave_to_first_(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors that are the same everywhere to zero but in the first process, in place.

        From then on the truth is the sum over the processes, as `add_` and `move_to_first_` want.
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
            raise RunError(f"{self._name} stops, for another one was refused: see its message")

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
                    f"{self._name} waits for the others in vain ({_reason(error)}): see their "
                    "messages, then run the same command with --resume"
                ) from None
            if dense.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(dense)

    @property
    def _name(self) -> str:
        return f"process {self.rank} of {self.number}"


def current() -> Peers:
    """The processes of this run: those that were joined, or this one alone."""
    if not dist.is_available() or not dist.is_initialized():
        return Peers()
    return Peers(dist.get_rank(), dist.get_world_size())


@contextlib.contextmanager
def joined(
    expected: int | None = None, timeout_s: float | None = None, device: str = AUTO
) -> Iterator[Peers]:
    """Join the processes that `torchrun` started; without it this one is alone.

    Args:
        expected: How many there have to be; a launcher that silently starts one is found out.
        timeout_s: How long to wait for another process, `TIMEOUT_S` by default; it must be longer
            than the longest stretch that one works alone, such as writing the model.
        device: Where they compute; see `cign.devices.resolve_device`.

    Raises:
        InputError: If there is another number of processes, or nobody to wait for, or all of them
            would compute on one GPU.
        RunError: If the others cannot be reached.
    """
    number = int(os.environ.get("WORLD_SIZE", "1"))
    if expected is not None and number != expected:
        raise InputError(
            f"--processes is {expected}, but {number} {'runs' if number == 1 else 'run'}: start "
            f"them with `{LAUNCH.replace('N', str(expected), 1)}`"
        )
    if number == 1:
        if timeout_s is not None:
            raise InputError(
                "--peer-timeout has no effect on one process: leave it out, or start several with "
                f"`{LAUNCH}`"
            )
        yield Peers()
        return
    if device.startswith("cuda:"):
        raise InputError(
            f"--device is {device}, but each of {number} processes needs a GPU of its own: use "
            "--device cuda"
        )
    _begin(timeout_s or TIMEOUT_S, on_gpu=device != "cpu" and torch.cuda.is_available())
    peers = current()
    before = signal.signal(signal.SIGTERM, _ended_by_launcher)
    try:
        here = torch.zeros(number, dtype=torch.int64)
        here[peers.rank] = 1
        peers.add_([here])
        if peers.number != number or not bool((here == 1).all()):
            raise RunError(f"{here.tolist()} processes answer to the {number} ranks: start again")
        yield peers
        dist.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin(timeout_s: float, *, on_gpu: bool) -> None:
    """Form the group: gloo for what lies in memory, NCCL for what lies on GPUs.

    Optimizers import ``torch._dynamo`` at their first step, and functions that come with it take
    the group that is there for a default: its threads then outlive `destroy_process_group`, and may
    abort the process at its end. Imported before, it finds none.
    """
    import torch._dynamo

    backend = "gloo"
    if on_gpu:
        local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= found:
            raise InputError(
                f"process {local} of this machine has no GPU of its own, it has {found}: use "
                f"--nproc_per_node {found}, or --device cpu"
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"the other processes cannot be reached ({_reason(error)}): start all of them, with "
            f"`{LAUNCH}`"
        ) from None


def _reason(error: Exception) -> str:
    """The first line of what the transport says, without its place in the source."""
    return re.sub(r"^\[\S+\] ?", "", str(error).splitlines()[0]).rstrip(". ")


def _ended_by_launcher(number: int, frame: FrameType | None) -> None:
    raise RunError(
        "stopped by the launcher, for another process failed: see its message, then run the same "
        "command with --resume"
    )
