"""Fourier transforms as convolutions and matrix products, for exported files.

Some runtimes lack the STFT operator of ONNX; where it exists it is slow, and inexact for lengths
that are not a power of two. A convolution avoids both. The equations are the same, with a different
order of summation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_rfft, _stft = torch.fft.rfft, torch.stft
_waves: dict[int, tuple[Tensor, Tensor]] = {}


def waves(length: int) -> tuple[Tensor, Tensor]:
    """Cosines and negative sines of a transform, float32, each [length, length // 2 + 1]."""
    if length not in _waves:
        n = torch.arange(length, dtype=torch.float64)
        k = torch.arange(length // 2 + 1, dtype=torch.float64)
        # Taking n k modulo the length keeps the angles exact.
        angles = (n[:, None] * k % length) * (2 * math.pi / length)
        _waves[length] = (angles.cos().float(), -angles.sin().float())
    return _waves[length]


def rfft(
    x: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, **rest: Any
) -> Tensor:
    """`torch.fft.rfft` over the last dimension as matrix products."""
    length = x.shape[-1]
    if dim not in (-1, x.ndim - 1) or n not in (None, length) or norm is not None or rest:
        return _rfft(x, n, dim, norm, **rest)
    cosines, sines = waves(length)
    return torch.complex(x @ cosines, x @ sines)


def stft(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    **rest: Any,
) -> Tensor:
    """`torch.stft` of [B, L] with a window of full length as two convolutions."""
    plain = x.ndim == 2 and win_length in (None, n_fft) and window is not None and not rest
    if not plain or normalized or onesided is False or not return_complex:
        positional = (n_fft, hop_length, win_length, window, center, pad_mode, normalized)
        return _stft(x, *positional, onesided, return_complex, **rest)
    assert window is not None
    x = x.unsqueeze(1)
    if center:
        x = F.pad(x, (n_fft // 2, n_fft // 2), mode=pad_mode)
    kernels = [(part * window[:, None]).T.unsqueeze(1) for part in waves(n_fft)]
    real, imaginary = (F.conv1d(x, kernel, stride=hop_length or n_fft // 4) for kernel in kernels)
    return torch.complex(real, imaginary)


@contextmanager
def without_fourier_operators() -> Iterator[None]:
    """Temporarily replace the transforms of torch by those of this module."""
    torch.fft.rfft, torch.stft = rfft, stft  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.fft.rfft, torch.stft = _rfft, _stft
