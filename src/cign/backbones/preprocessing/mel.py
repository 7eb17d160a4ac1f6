"""Log mel spectrogram on tensors, for the small audio encoder.

Legend: B clips, L samples, M filters, T spectrogram frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def mel_filters(num_mels: int, n_fft: int, rate_hz: int) -> Tensor:
    """Triangular filters, evenly spaced on the mel scale from 0 Hz to half of the sample rate.

    mel = 2595 log10(1 + hz / 700) (O'Shaughnessy 1987); each triangle has height 1 and extends
    from the centre of the filter below to that of the filter above.

    Args:
        num_mels: M, number of filters.
        n_fft: Length of the transform in samples.
        rate_hz: Sample rate.

    Returns:
        Filters, shape [n_fft // 2 + 1, M].
    """
    top_mel = 2595.0 * math.log10(1.0 + rate_hz / 2 / 700.0)
    # Explicit, because linspace may lose this default after a hub network was loaded.
    device = torch.get_default_device()
    mels = torch.linspace(0.0, top_mel, num_mels + 2, dtype=torch.float64, device=device)
    edges_hz = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins_hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None] * rate_hz / n_fft
    rising = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0).float()


class LogMel(nn.Module):
    """Log mel spectrogram on tensors.

    Args:
        rate_hz: Sample rate.
        n_fft: Length of window (Hann, periodic) and transform in samples.
        hop: Samples from one window to the next.
        num_mels: M.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self, rate_hz: int = 16_000, n_fft: int = 512, hop: int = 256, num_mels: int = 64
    ) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", mel_filters(num_mels, n_fft, rate_hz), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map a waveform in [-1, 1], [B, L], to [B, M, T] with T = 1 + L // hop (centred)."""
        spectrum = torch.stft(
            waveform,
            self.n_fft,
            self.hop,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.abs().square()  # [B, n_fft // 2 + 1, T]
        return torch.log(power.transpose(1, 2) @ self.filters + 1e-5).transpose(1, 2)
