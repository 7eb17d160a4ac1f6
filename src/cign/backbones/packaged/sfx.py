"""aiSFX, an audio encoder trained on the categories of sound-effect libraries.

Ma and Lerch, Representation Learning for the Automatic Indexing of Sound Effects Libraries, ISMIR
2022: the variant X-Sequential-CE. Weights CC BY 4.0.

Legend: B clips, L samples, T spectrogram frames, M mel bands, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.backbones.hub.audio import AudioEncoder
from cign.backbones.hub.loading import Source
from cign.backbones.packaged.accelerated import PRECISION, Accelerated
from cign.backbones.packaged.convolutions import RELU, Convolution, folded_state
from cign.errors import InputError

RATE_HZ, N_FFT, HOP, NUM_MELS = 44_100, 2048, 1024, 96
# The largest value of the log mel spectrogram in the training data of the publication.
LOG_MEL_MAX = 9.457798957824707
WIDTHS = (64, 128, 256, 512)
REDUCTION = 8  # of frames and mel bands: max pooling by 2 after three of the four blocks
WINDOW_S = 3.0  # the network was trained on 100 frames, 2.3 s
_EPS = 1e-5  # of its batch normalisation


def warped_mel_filters() -> Tensor:
    """Filters that are triangles on the mel scale and sum to one, float32, [N_FFT // 2 + 1, M].

    mel = 2595 log10(1 + hz / 700), evenly spaced from 0 Hz to half of the sample rate. They equal
    those of Essentia's MelBands with ``weighting="warping", normalize="unit_sum"``.
    """
    # Explicit, because linspace may lose this default after a hub network was loaded.
    device = torch.get_default_device()
    top_mel = 2595.0 * math.log10(1.0 + RATE_HZ / 2 / 700.0)
    edges = torch.linspace(0.0, top_mel, NUM_MELS + 2, dtype=torch.float64, device=device)
    bins_hz = torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * RATE_HZ / N_FFT
    bins = 2595.0 * torch.log10(1.0 + bins_hz[:, None] / 700.0)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    return (filters / filters.sum(dim=0)).float()


class SfxLogMel(nn.Module):
    """log10(1 + 10,000 mel) of the power spectrum, divided by its largest value in training.

    As the publication computes it with Essentia: frames of 2,048 samples (symmetric Hann window of
    peak 1) are centred at every 1,024th sample, with zeros beyond both ends.
    """

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(N_FFT, periodic=False, dtype=torch.float64).float()
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", warped_mel_filters(), persistent=False)

    @staticmethod
    def num_frames(num_samples: int) -> int:
        """T: frames begin before and end after the last sample."""
        return -(-num_samples // HOP) + 1

    def forward(self, waveform: Tensor) -> Tensor:
        """Map a waveform in [-1, 1], [B, L], to [B, M, T]."""
        x = F.pad(waveform, (N_FFT // 2, N_FFT // 2 + -waveform.shape[-1] % HOP))
        spectrum = torch.stft(x, N_FFT, HOP, window=self.window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()  # [B, N_FFT // 2 + 1, T]
        mel = power.transpose(1, 2) @ self.filters
        return (torch.log10(1.0 + 1e4 * mel) / LOG_MEL_MAX).transpose(1, 2)


def sfx_network() -> nn.Sequential:
    """Four blocks of two convolutions, with random weights: [B, 1, T, M] to [B, D, T/8, M/8]."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng():
        for width, out_width in zip((1, *WIDTHS[:-1]), WIDTHS, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            layers.append(Convolution(width, out_width, 3, activation=RELU))
            layers.append(Convolution(out_width, out_width, 3, activation=RELU))
    return nn.Sequential(*layers)


def sfx_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `sfx_network` from the published weights, without their classifiers.

    Raises:
        KeyError: If a tensor is missing.
    """
    layers = [
        (f"embedding_net.conv_block{block}.conv{i}", f"embedding_net.conv_block{block}.bn{i}")
        for block in range(1, len(WIDTHS) + 1)
        for i in (1, 2)
    ]
    return folded_state(sfx_network, state, layers, eps=_EPS)


class Sfx(AudioEncoder):
    """aiSFX as an encoder: 12 frequencies x T/8 time steps of width 512; 3 s give 12 x 16 tokens.

    Args:
        source: Source of the weights.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source, self.network = source, Accelerated(sfx_network())
        self.log_mel = SfxLogMel()
        self.dim, self.rate_hz, self.window_s, self.longest_s = WIDTHS[-1], RATE_HZ, WINDOW_S, None
        self.settings = {"kind": source.kind, "rate_hz": RATE_HZ, "precision": PRECISION}

    def grid(self, num_samples: int) -> tuple[int, int]:
        """See `AudioEncoder`.

        Raises:
            InputError: If the window is shorter than one time step.
        """
        moments = SfxLogMel.num_frames(num_samples) // REDUCTION
        if moments == 0:
            shortest_s = ((REDUCTION - 2) * HOP + 1) / RATE_HZ
            raise InputError(
                "conflicting-options",
                f"backbone {self.source.name!r} takes windows of at least {shortest_s:.2f} s, not "
                f"{num_samples / RATE_HZ:.2g}: use a preset with a longer window",
            )
        return NUM_MELS // REDUCTION, moments

    def to_input(self, waveform: Tensor) -> Tensor:
        """See `AudioEncoder`; shape [B, 1, T, M]."""
        x: Tensor = self.log_mel(waveform)
        return x.transpose(1, 2).unsqueeze(1)

    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """See `AudioEncoder`."""
        out = self.network(features)  # [B, D, time, frequency]
        return out.transpose(2, 3).flatten(2).transpose(1, 2)
