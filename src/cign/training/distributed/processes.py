"""Process group of the processes that `torchrun` started to train one model.

Each process reads its rank from environment variables. If one fails, hangs or is killed, the
others stop with one sentence: at once when its connections close, or after the timeout if it hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist

from cign.errors import InputError, RunError
from cign.training.distributed.comm import Comm, reason
from cign.utils.devices import AUTO

TIMEOUT_S = 600.0
LAUNCH = "torchrun --nproc_per_node N -m cign train ..."


def current() -> Comm:
    """The process group of this run; a single process without one."""
    if not dist.is_available() or not dist.is_initialized():
        return Comm()
    return Comm(dist.get_rank(), dist.get_world_size())


@contextlib.contextmanager
def joined(
    expected: int | None = None, timeout_s: float | None = None, device: str = AUTO
) -> Iterator[Comm]:
    """Join the process group that `torchrun` started; without torchrun a single process.

    Args:
        expected: Required number of processes; detects a launcher that starts only one.
        timeout_s: Time to wait for another process, `TIMEOUT_S` by default; it must exceed the
            longest work of a single rank, such as writing the model.
        device: Compute device; see `cign.utils.devices.resolve_device`.

    Raises:
        InputError: If the number of processes differs, a timeout is given for a single process, or
            all processes would compute on one GPU.
        RunError: If the other processes cannot be reached.
    """
    number = int(os.environ.get("WORLD_SIZE", "1"))
    if expected is not None and number != expected:
        raise InputError(
            "conflicting-options",
            f"--processes is {expected}, but {number} {'runs' if number == 1 else 'run'}: start "
            f"them with `{LAUNCH.replace('N', str(expected), 1)}`",
        )
    if number == 1:
        if timeout_s is not None:
            raise InputError(
                "conflicting-options",
                "--peer-timeout has no effect with one process: leave it out, or start more with "
                f"`{LAUNCH}`",
            )
        yield Comm()
        return
    if device.startswith("cuda:"):
        raise InputError(
            "conflicting-options",
            f"--device is {device}, but each of {number} processes needs a GPU of its own: use "
            "--device cuda",
        )
    _begin(timeout_s or TIMEOUT_S, on_gpu=device != "cpu" and torch.cuda.is_available())
    comm = current()
    before = signal.signal(signal.SIGTERM, _ended_by_launcher)
    try:
        here = torch.zeros(number, dtype=torch.int64)
        here[comm.rank] = 1
        comm.sum_([here])
        if comm.size != number or not bool((here == 1).all()):
            raise RunError(
                "process-failed",
                f"{here.tolist()} processes answer to the {number} ranks: start again",
            )
        yield comm
        dist.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin(timeout_s: float, *, on_gpu: bool) -> None:
    """Create the process group: gloo for tensors in main memory, NCCL for tensors on GPUs.

    Optimizers import ``torch._dynamo`` at their first step, and functions in it take an existing
    group as a default argument: its threads then outlive `destroy_process_group` and may abort the
    process at exit. Importing it before the group exists avoids this.
    """
    import torch._dynamo

    backend = "gloo"
    if on_gpu:
        local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= found:
            raise InputError(
                "missing-device",
                f"local rank {local} has no GPU, this machine has {found}: use "
                f"--nproc_per_node {found}, or --device cpu",
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    except (RuntimeError, ValueError) as error:
        raise RunError(
            "process-failed",
            f"the other processes cannot be reached ({reason(error)}): start all of them, with "
            f"`{LAUNCH}`",
        ) from None


def _ended_by_launcher(number: int, frame: FrameType | None) -> None:
    raise RunError(
        "process-failed",
        "stopped by the launcher because another rank failed: see its message, then run the same "
        "command with --resume",
    )
