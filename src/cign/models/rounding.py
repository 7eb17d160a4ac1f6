"""Matrix products of values rounded to bfloat16, on units for them where a machine has any."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

# torch's setting is one for the whole process: who multiplies in one way keeps out the other.
_setting = threading.RLock()


def rounded(x: Tensor) -> Tensor:
    """The nearest bfloat16 values, in the precision of ``x``."""
    return x.bfloat16().to(x.dtype)


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
