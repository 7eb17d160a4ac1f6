"""Log filter banks on tensors, as in the training of AST and CLAP.

Legend: B clips, L samples, T frames, M filters, N length of the transform.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.errors import InputError

KALDI_FLOOR = 1.192092955078125e-07  # machine epsilon of float32, as in Kaldi
DB_FLOOR = 1e-10
MOST_VALUES = 2**22
CPU = "cpu"  # filters need values even if a network is built on the meta device


def kaldi_mel(hz: Tensor) -> Tensor:
    """Mel = 1127 ln(1 + hz / 700)."""
    return 1127.0 * torch.log1p(hz / 700.0)


def htk_mel(hz: Tensor) -> Tensor:
    """Mel = 2595 log10(1 + hz / 700) (O'Shaughnessy 1987)."""
    return 2595.0 * torch.log10(1.0 + hz / 700.0)


def slaney_mel(hz: Tensor) -> Tensor:
    """3 mel per 200 Hz up to 1 kHz, then 27 mel per factor of 6.4 (Slaney 1998)."""
    logarithmic = 15.0 + 27.0 * torch.log(hz.clamp(min=1000.0) / 1000.0) / math.log(6.4)
    return torch.where(hz < 1000.0, 3.0 * hz / 200.0, logarithmic)


def slaney_hz(mel: Tensor) -> Tensor:
    """The inverse of `slaney_mel`."""
    logarithmic = 1000.0 * torch.exp((mel.clamp(min=15.0) - 15.0) * math.log(6.4) / 27.0)
    return torch.where(mel < 15.0, 200.0 * mel / 3.0, logarithmic)


def htk_hz(mel: Tensor) -> Tensor:
    """The inverse of `htk_mel`."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def triangles(points: Tensor, edges: Tensor) -> Tensor:
    """Triangular filters of height 1, each from the centre of the one below to the one above.

    Args:
        points: Points at which to evaluate the filters, shape [P].
        edges: Edges of the filters on the same scale, shape [M + 2].

    Returns:
        Filters, shape [P, M].
    """
    rising = (points[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0)


def kaldi_filters(num_mels: int, n_fft: int, rate_hz: int, low_hz: float = 20.0) -> Tensor:
    """Triangular filters on Kaldi's mel scale, float64, shape [N // 2 + 1, M]."""
    _check_size(num_mels, n_fft)
    bins = kaldi_mel(_bins_hz(n_fft, rate_hz))
    ends = kaldi_mel(_pair(low_hz, rate_hz / 2))
    return triangles(bins, _spaced(ends, num_mels))


def clap_filters(
    num_mels: int, n_fft: int, rate_hz: int, low_hz: float, high_hz: float, *, slaney: bool
) -> Tensor:
    """Triangular filters in hertz, float64, shape [N // 2 + 1, M].

    Args:
        num_mels: M.
        n_fft: N.
        rate_hz: Sample rate.
        low_hz: Lower end of the first filter.
        high_hz: Upper end of the last filter.
        slaney: Whether filters are spaced on Slaney's scale and have equal area, as in the training
            of networks without feature fusion; else on the HTK scale with equal height.
    """
    to_mel, to_hz = (slaney_mel, slaney_hz) if slaney else (htk_mel, htk_hz)
    _check_size(num_mels, n_fft)
    ends = to_mel(_pair(low_hz, high_hz))
    edges_hz = to_hz(_spaced(ends, num_mels))
    filters = triangles(_bins_hz(n_fft, rate_hz), edges_hz)
    return filters * (2.0 / (edges_hz[2:] - edges_hz[:-2])) if slaney else filters


def _bins_hz(n_fft: int, rate_hz: int) -> Tensor:
    return torch.arange(n_fft // 2 + 1, dtype=torch.float64, device=CPU) * rate_hz / n_fft


def _pair(low: float, high: float) -> Tensor:
    return torch.tensor([low, high], dtype=torch.float64, device=CPU)


def _check_size(num_mels: int, n_fft: int) -> None:
    """Reject filter banks that are empty or far larger than in any trained network."""
    if num_mels < 1 or n_fft < 1 or num_mels * (n_fft // 2 + 1) > MOST_VALUES:
        raise InputError(
            "bad-value",
            f"{num_mels:.6g} filters of a transform of {n_fft:.6g} samples are not a valid filter "
            f"bank: use at least one filter, and at most {MOST_VALUES} values",
        )


def _spaced(ends: Tensor, num_mels: int) -> Tensor:
    low, high = ends.tolist()
    return torch.linspace(low, high, num_mels + 2, dtype=torch.float64, device=CPU)


class KaldiFilterBank(nn.Module):
    """Kaldi's log filter bank: 25 ms frames every 10 ms, without padding at the ends.

    The mean of each frame is subtracted; the frame is pre-emphasised by 0.97 and weighted by a
    symmetric Hann window. The output is the natural logarithm of the power in each filter.

    Args:
        rate_hz: Sample rate.
        num_mels: M.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, *, rate_hz: int = 16_000, num_mels: int = 128) -> None:
        super().__init__()
        self.length, self.hop = round(rate_hz * 0.025), round(rate_hz * 0.010)
        self.n_fft = 2 ** math.ceil(math.log2(self.length))
        window = torch.hann_window(self.length, periodic=False, dtype=torch.float64)
        filters = kaldi_filters(num_mels, self.n_fft, rate_hz)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", filters.float(), persistent=False)

    def num_frames(self, num_samples: int) -> int:
        """Number of frames of a waveform of this length."""
        return max(0, 1 + (num_samples - self.length) // self.hop)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map a waveform in [-1, 1], float [B, L], to [B, T, M]."""
        x = waveform.unfold(-1, self.length, self.hop)  # [B, T, length]
        x = x - x.mean(dim=-1, keepdim=True)
        # The sample before the first one of a frame is taken to be equal to it.
        x = x - 0.97 * torch.cat([x[..., :1], x[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft(x * self.window.to(x.dtype), n=self.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log((power @ self.filters.to(x.dtype)).clamp(min=KALDI_FLOOR))


class ClapLogMel(nn.Module):
    """CLAP's log mel spectrogram in decibels: periodic Hann window, centred, reflection padding.

    Args:
        rate_hz: Sample rate.
        num_mels: M.
        n_fft: Length of window and transform.
        hop: Samples from one frame to the next.
        low_hz: See `clap_filters`.
        high_hz: See `clap_filters`.
        slaney: See `clap_filters`.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        *,
        rate_hz: int = 48_000,
        num_mels: int = 64,
        n_fft: int = 1024,
        hop: int = 480,
        low_hz: float = 0.0,
        high_hz: float = 14_000.0,
        slaney: bool = False,
    ) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        filters = clap_filters(num_mels, n_fft, rate_hz, low_hz, high_hz, slaney=slaney)
        window = torch.hann_window(n_fft, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", filters.float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map a waveform in [-1, 1], float [B, L], to [B, T, M] with T = 1 + L // hop."""
        side = self.n_fft // 2
        x = F.pad(waveform.unsqueeze(1), (side, side), mode="reflect").squeeze(1)
        x = x.unfold(-1, self.n_fft, self.hop)  # [B, T, N]
        spectrum = torch.fft.rfft(x * self.window.to(x.dtype))
        power = spectrum.real.square() + spectrum.imag.square()
        return 10.0 * torch.log10((power @ self.filters.to(x.dtype)).clamp(min=DB_FLOOR))
