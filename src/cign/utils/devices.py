"""Compute devices: names, availability on this machine, and the device of a module."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from cign.errors import InputError

if TYPE_CHECKING:  # slow import, not needed to check names
    import torch
    from torch import nn

    M = TypeVar("M", bound=nn.Module)

AUTO = "auto"
NAMES = "auto, cpu, cuda, cuda:N or mps"
DEVICE_HELP = f"compute device: {NAMES} (default: auto, a CUDA GPU if available, else cpu)"
_NAME = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def is_device_name(text: str) -> bool:
    """Whether a text is a valid device name, available or not."""
    return _NAME.fullmatch(text) is not None


def resolve_device(name: str | None = None) -> str:
    """Resolve a device name.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; None is ``auto``, which takes a
            CUDA GPU if there is one and the CPU otherwise. ``cuda`` is the current GPU; with
            several processes, each has its own.

    Returns:
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        InputError: If the name is invalid, or this machine does not have the device.
    """
    import torch

    name = AUTO if name is None else str(name)
    if not is_device_name(name):
        raise InputError("unknown-name", f"unknown device {name!r}: use {NAMES}")
    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = available_devices()
    if name not in found and not (name == "cuda" and "cuda:0" in found):
        raise InputError(
            "missing-device",
            f"device {name!r} is not available{_why_not(name)}: use {', '.join(found)} or auto",
        )
    return name


def available_devices() -> tuple[str, ...]:
    """The devices of this machine that PyTorch can use."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def _why_not(name: str) -> str:
    """Why CUDA is unavailable, if PyTorch is built without it; else empty."""
    import torch

    lacks_cuda = torch.version.cuda is None and torch.version.hip is None
    if name.startswith("cuda") and lacks_cuda:
        return f" (PyTorch {torch.__version__} is built without CUDA)"
    return ""


def describe_device(name: str) -> str:
    """A device as text: ``cpu, 2 threads`` or ``cuda:0, NVIDIA H200``."""
    import torch

    device = torch.device(name)
    if device.type == "cpu":
        number = torch.get_num_threads()
        return f"cpu, {number} thread{'' if number == 1 else 's'}"
    if device.type == "cuda":
        number = torch.cuda.current_device() if device.index is None else device.index
        return f"cuda:{number}, {torch.cuda.get_device_name(number)}"
    return device.type


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's weights; the CPU if it has none."""
    import torch

    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def move_to(module: M, device: str | torch.device) -> M:
    """Move a module to a device, in place.

    Raises:
        InputError: If it computes in float64, which ``mps`` cannot.
    """
    if str(device).startswith("mps") and getattr(module, "needs_float64", False):
        name = getattr(module, "name", type(module).__name__)
        raise InputError(
            "unsupported",
            f"method {name} computes in float64, which device 'mps' lacks: use --device cpu",
        )
    return module.to(device)
