"""Matrix products of values rounded to bfloat16, on bfloat16 hardware if available."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

# torch's setting is global to the process, so threads with different settings exclude each other.
_setting = threading.RLock()


def rounded(x: Tensor) -> Tensor:
    """The nearest bfloat16 values, in the precision of ``x``."""
    return x.bfloat16().to(x.dtype)


def multiply_bfloat16(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """The product of two bfloat16 matrices: accumulated in float32, then rounded to bfloat16.

    On a processor without bfloat16 units, which would compute it element by element, the same
    values are multiplied in float32.

    Args:
        a: Left matrix, shape [M, K].
        b: Right matrix, shape [K, N].
        out: Overwritten with the result, bfloat16, shape [M, N].

    Returns:
        ``out``.
    """
    if a.device.type != "cpu" or has_bfloat16_units():
        return torch.mm(a, b, out=out)
    return out.copy_(a.float() @ b.float())


@lru_cache
def has_bfloat16_units() -> bool:
    """Whether the processor has instructions for bfloat16 products."""
    features: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(
        features.get(name, False) for name in ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")
    )


@contextmanager
def rounded_products(enabled: bool) -> Iterator[None]:
    """Multiply float32 matrices of `rounded` values on bfloat16 hardware if available.

    Products of two such values are exact in float32, and they are accumulated in float32, so the
    precision is that of a plain float32 product. Threads that predict wait, see `plain_products`.

    Args:
        enabled: Whether to use bfloat16 hardware.
    """
    if not enabled:
        yield
        return
    # torch's type stubs lack mkldnn.matmul.
    cpu_matmul = cast(Any, torch.backends.mkldnn).matmul
    cuda_matmul = torch.backends.cuda.matmul
    with _setting:
        before = cpu_matmul.fp32_precision, cuda_matmul.fp32_precision
        try:
            cpu_matmul.fp32_precision, cuda_matmul.fp32_precision = "bf16", "tf32"
            yield
        finally:
            cpu_matmul.fp32_precision, cuda_matmul.fp32_precision = before


@contextmanager
def plain_products() -> Iterator[None]:
    """Prevent other threads from rounding products while this one predicts."""
    with _setting:
        yield
