"""Log power spectrograms on the device, with the settings of the CIGN release."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cign.errors import InputError


def tukey_window(length: int, alpha: float = 0.25) -> Tensor:
    """The periodic Tukey window, float64, shape [length].

    It is flat in the middle, with a cosine taper over a share ``alpha`` of the period
    (Harris 1978, eq. 38), and periodic as in SciPy's spectrogram.
    """
    n = torch.arange(length, dtype=torch.float64)
    # A periodic window is a symmetric one of length + 1 without its last point.
    edge = torch.minimum(n, length - n) * 2 / (alpha * length)
    return torch.where(edge < 1, 0.5 * (1 - torch.cos(torch.pi * edge)), torch.ones_like(n))


class PowerSpectrogram(nn.Module):
    """Power spectral density of overlapping segments.

    It equals ``scipy.signal.spectrogram`` with its defaults: Tukey window (0.25), the mean of each
    segment subtracted, density scaling, one-sided, no padding. [release]

    Args:
        rate_hz: Sample rate.
        segment: Samples of a segment; there are segment // 2 + 1 frequencies.
        overlap: Samples shared by adjacent segments.
    """

    window: Tensor
    scale: Tensor

    def __init__(self, *, rate_hz: int, segment: int = 512, overlap: int = 274) -> None:
        super().__init__()
        assert 0 <= overlap < segment
        self.segment = segment
        self.hop = segment - overlap
        window = tukey_window(segment)
        scale = torch.full((segment // 2 + 1,), 2.0, dtype=torch.float64)
        scale[0] = 1.0
        if segment % 2 == 0:
            scale[-1] = 1.0  # the Nyquist bin has no mirror image
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("scale", scale / (rate_hz * window.square().sum()), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Compute the power spectrogram.

        Args:
            waveform: Samples, floating point, shape [B, L].

        Returns:
            Power per hertz, shape [B, segment // 2 + 1, frames], in the waveform's dtype.

        Raises:
            InputError: If the waveform is shorter than one segment.
        """
        if waveform.shape[-1] < self.segment:
            raise InputError(
                "bad-value",
                f"a waveform of {waveform.shape[-1]} samples is shorter than one segment of "
                f"{self.segment}: use a longer audio window",
            )
        frames = waveform.unfold(-1, self.segment, self.hop)  # [B, frames, segment]
        frames = frames - frames.mean(dim=-1, keepdim=True)
        spectrum = torch.fft.rfft(frames * self.window.to(waveform.dtype))
        power = spectrum.real.square() + spectrum.imag.square()
        return (power * self.scale.to(waveform.dtype)).transpose(-1, -2)


class LogSpectrogram(nn.Module):
    """log(power + 1e-7) / 12 of the release: 257 x 276 for 3 s at 22.05 kHz.

    Args:
        rate_hz: Sample rate.
        segment: Samples of a segment.
        overlap: Samples shared by adjacent segments.
    """

    def __init__(self, *, rate_hz: int, segment: int = 512, overlap: int = 274) -> None:
        super().__init__()
        self.power = PowerSpectrogram(rate_hz=rate_hz, segment=segment, overlap=overlap)

    def forward(self, audio: Tensor) -> Tensor:
        """Compute the log spectrogram.

        Args:
            audio: Samples, int16 or floating point in [-1, 1], shape [B, L].

        Returns:
            Log spectrogram, float32, shape [B, F, T].
        """
        return torch.log(self.power(as_waveform(audio)) + 1e-7) / 12.0


def as_waveform(audio: Tensor) -> Tensor:
    """Convert int16 samples to float32 in [-1, 1]; floating point is returned unchanged."""
    if audio.is_floating_point():
        return audio
    return audio.to(torch.float32) / 32768.0
