"""bfloat16 in transformers and encoders, but not in losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def bf16_if(enabled: bool, device: str) -> Iterator[None]:
    """Multiply matrices in bfloat16 in this block if enabled; weights stay in float32.

    On a CPU, attention uses the unfused implementation, because the backward pass of the fused
    kernel is slow in bfloat16 there.

    Args:
        enabled: Whether to use bfloat16.
        device: ``cpu`` or ``cuda``.
    """
    if not enabled:
        yield
        return
    attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
    with attention, torch.autocast(device, dtype=torch.bfloat16):
        yield
