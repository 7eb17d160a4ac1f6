"""Matrix products of values rounded to bfloat16, on units for them where a machine has any."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

# torch's setting is one for the whole process: who multiplies in one way keeps out the other.
_setting = threading.RLock()


def rounded(x: Tensor) -> Tensor:
    """The nearest bfloat16 values, in the precision of ``x``."""
    return x.bfloat16().to(x.dtype)


def multiply_bfloat16(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """The product of two bfloat16 matrices: added in float32, then rounded to bfloat16.

    On a processor without units for it, which would do it element by element, the same values are
    multiplied in float32.

    Args:
        a: Shape [M, K].
        b: Shape [K, N].
        out: Written over, bfloat16, shape [M, N].

    Returns:
        ``out``.
    """
    if a.device.type != "cpu" or has_bfloat16_units():
        return torch.mm(a, b, out=out)
    return out.copy_(a.float() @ b.float())


@lru_cache
def has_bfloat16_units() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself."""
    able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16"))


@contextmanager
def rounded_products(enabled: bool) -> Iterator[None]:
    """Multiply float32 matrices of `rounded` values on units for them, where there are any.

    Products of two such values are exact in float32, and they are added in float32: nothing is lost
    that a plain float32 product of them would keep. Threads that predict wait, see
    `plain_products`.

    Args:
        enabled: Whether to.
    """
    if not enabled:
        yield
        return
    # torch's own stubs do not know of the first.
    processor = cast(Any, torch.backends.mkldnn).matmul
    card = torch.backends.cuda.matmul
    with _setting:
        before = processor.fp32_precision, card.fp32_precision
        try:
            processor.fp32_precision, card.fp32_precision = "bf16", "tf32"
            yield
        finally:
            processor.fp32_precision, card.fp32_precision = before


@contextmanager
def plain_products() -> Iterator[None]:
    """Keep other threads from rounding products while this one predicts."""
    with _setting:
        yield
