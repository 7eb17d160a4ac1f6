"""Audio encoders of a backbone: AST, CLAP or the ResNet of the release.

Legend: B clips, L samples, T spectrogram frames, M filters, N tokens, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.backbones.hub.filter_banks import ClapLogMel, KaldiFilterBank
from cign.backbones.hub.loading import Source, load_network
from cign.backbones.preprocessing.spectrogram import LogSpectrogram, as_waveform
from cign.backbones.resnet import downsampled
from cign.errors import InputError

CLIP_S = 10.0  # length of benchmark clips: the window of networks that accept it
MOST_SAMPLES = 2**26  # of an input, far more than any network takes


class AudioEncoder(nn.Module):
    """Encodes samples as tokens, without special tokens and tokens of padding.

    Attributes:
        source: Source of the network.
        network: The network.
        dim: D.
        rate_hz: Required sample rate.
        longest_s: Maximum length in seconds; None accepts any.
        window_s: Default length to store, in seconds.
        settings: All settings other than weights that determine the tokens.
    """

    source: Source
    network: nn.Module
    dim: int
    rate_hz: int
    longest_s: float | None
    window_s: float
    settings: dict[str, Any]

    @abstractmethod
    def grid(self, num_samples: int) -> tuple[int, int]:
        """Tokens of a waveform of this length as (frequency, time)."""

    @abstractmethod
    def to_input(self, waveform: Tensor) -> Tensor:
        """Convert a waveform in [-1, 1], float32 [B, L], to the network input."""

    @abstractmethod
    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """Tokens from the output of `to_input`, shape [B, N, D], by frequency, then time."""

    def forward(self, audio: Tensor) -> Tensor:
        """Map int16 samples, or floating point in [-1, 1], [B, L] to [B, N, D]."""
        # Half precision loses quiet partials.
        with torch.autocast(audio.device.type, enabled=False):
            features = self.to_input(as_waveform(audio).float())
        return self.tokens(features, audio.shape[-1])


class AstEncoder(AudioEncoder):
    """Audio Spectrogram Transformer (Gong et al. 2021, arXiv 2104.01778).

    The filter bank output of a window is padded with zeros to the input length of the network
    before it is normalised, as in its own feature extractor. Patches that begin in the padding
    enter the network but are removed from the tokens (ours).
    """

    def __init__(self, source: Source, network: nn.Module) -> None:
        super().__init__()
        self.source, self.network = source, network
        config: Any = network.config
        settings = source.preprocessing or {}
        self.rate_hz = int(settings.get("sampling_rate", 16_000))
        # Statistics of AudioSet, as in the published checkpoints.
        self.mean = float(settings.get("mean", -4.2677393))
        self.std = float(settings.get("std", 4.5689974))
        self.normalised = bool(settings.get("do_normalize", True))
        self.dim, self.num_frames = int(config.hidden_size), int(config.max_length)
        self.patch, self.stride = int(config.patch_size), int(config.time_stride)
        self.rows = (config.num_mel_bins - self.patch) // config.frequency_stride + 1
        self.columns = (self.num_frames - self.patch) // self.stride + 1
        self.filter_bank = KaldiFilterBank(rate_hz=self.rate_hz, num_mels=config.num_mel_bins)
        self.longest_s = self.num_frames * self.filter_bank.hop / self.rate_hz
        self.window_s = min(CLIP_S, self.longest_s)
        self.settings = {
            "kind": source.kind,
            "rate_hz": self.rate_hz,
            "normalised": [self.mean, self.std] if self.normalised else None,
        }

    def grid(self, num_samples: int) -> tuple[int, int]:
        """See `AudioEncoder`."""
        frames = self.filter_bank.num_frames(num_samples)
        return self.rows, min(self.columns, max(1, -(-frames // self.stride)))

    def to_input(self, waveform: Tensor) -> Tensor:
        """See `AudioEncoder`; shape [B, T, M]."""
        x = self.filter_bank(waveform)[:, : self.num_frames]
        x = F.pad(x, (0, 0, 0, self.num_frames - x.shape[1]))
        return (x - self.mean) / (2.0 * self.std) if self.normalised else x

    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """See `AudioEncoder`."""
        out = self.network(input_values=features).last_hidden_state[:, 2:]  # class, distillation
        out = out.unflatten(1, (self.rows, self.columns))
        return out[:, :, : self.grid(num_samples)[1]].flatten(1, 2)


class ClapEncoder(AudioEncoder):
    """The audio network of CLAP (Wu et al. 2023, arXiv 2211.06687).

    A window shorter than the network input is repeated as often as it fits and then padded, as in
    its own feature extractor. No window is longer, so the fusion for long audio is never used.
    """

    def __init__(self, source: Source, network: nn.Module) -> None:
        super().__init__()
        self.source, self.network = source, network
        config: Any = network.config
        settings = source.preprocessing or {}
        self.rate_hz = int(settings.get("sampling_rate", 48_000))
        self.longest_s = float(settings.get("max_length_s", 10))
        self.window_s = min(CLIP_S, self.longest_s)
        self.num_samples = round(self.rate_hz * self.longest_s)
        if not 0 < self.num_samples <= MOST_SAMPLES:
            raise InputError(
                "bad-value",
                f"an audio network cannot take {self.longest_s:.6g} s at {self.rate_hz:.6g} Hz: "
                f"use 1 to {MOST_SAMPLES} samples",
            )
        self.padding = str(settings.get("padding", "repeatpad"))
        fused = settings.get("truncation", "fusion" if config.enable_fusion else "rand_trunc")
        self.log_mel = ClapLogMel(
            rate_hz=self.rate_hz,
            num_mels=int(settings.get("feature_size", config.num_mel_bins)),
            n_fft=int(settings.get("fft_window_size", 1024)),
            hop=int(settings.get("hop_length", 480)),
            low_hz=float(settings.get("frequency_min", 0)),
            high_hz=float(settings.get("frequency_max", 14_000)),
            slaney=fused != "fusion",
        )
        self.num_channels = 4 if config.enable_fusion else 1
        stages = len(config.depths)
        self.dim = int(config.patch_embeds_hidden_size * 2 ** (stages - 1))
        stride = config.patch_stride
        stride = stride if isinstance(stride, int) else stride[0]
        side = config.spec_size // stride // 2 ** (stages - 1)
        ratio = config.spec_size // config.num_mel_bins
        self._grid = (side // ratio, side * ratio)
        self.settings = {
            "kind": source.kind,
            **{
                key: value
                for key, value in settings.items()
                if isinstance(value, (int, float, str))
            },
        }

    def grid(self, num_samples: int) -> tuple[int, int]:
        """See `AudioEncoder`."""
        return self._grid

    def to_input(self, waveform: Tensor) -> Tensor:
        """See `AudioEncoder`; shape [B, channels, T, M]."""
        x, length = waveform, waveform.shape[-1]
        if length < self.num_samples:
            if self.padding.startswith("repeat"):
                whole = self.padding == "repeat"
                x = x.repeat(1, self.num_samples // length + whole)[:, : self.num_samples]
            x = F.pad(x, (0, self.num_samples - x.shape[-1]))
        return self.log_mel(x).unsqueeze(1).expand(-1, self.num_channels, -1, -1)

    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """See `AudioEncoder`."""
        is_longer = torch.zeros(len(features), 1, device=features.device)
        # [B, D, frequency, time]
        out = self.network(input_features=features, is_longer=is_longer).last_hidden_state
        return out.flatten(2).transpose(1, 2)


class ResNetAudio(AudioEncoder):
    """The audio network of the release: a ResNet-18 with one channel and random weights."""

    def __init__(self, source: Source, network: nn.Module, rate_hz: int, window_s: float) -> None:
        super().__init__()
        self.source = source
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        config: Any = network.config
        self.dim = int(config.hidden_sizes[-1])
        self.rate_hz, self.window_s, self.longest_s = rate_hz, window_s, None
        self.spectrogram = LogSpectrogram(rate_hz=rate_hz)
        self.settings = {"kind": "resnet", "rate_hz": rate_hz}

    def grid(self, num_samples: int) -> tuple[int, int]:
        """See `AudioEncoder`."""
        power = self.spectrogram.power
        frames = (num_samples - power.segment) // power.hop + 1
        return downsampled(power.segment // 2 + 1), downsampled(frames)

    def to_input(self, waveform: Tensor) -> Tensor:
        """See `AudioEncoder`; shape [B, 1, F, T]."""
        return self.spectrogram(waveform).unsqueeze(1)

    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """See `AudioEncoder`."""
        out = self.network(pixel_values=features).last_hidden_state
        return out.flatten(2).transpose(1, 2)


def load_audio_encoder(source: Source) -> AudioEncoder:
    """Load an audio encoder from its source.

    Raises:
        InputError: If it cannot be loaded.
    """
    import transformers

    if source.kind == "audio-spectrogram-transformer":
        return AstEncoder(source, load_network(source, transformers.ASTModel))
    if source.kind == "clap":
        whole: Any = load_network(source, transformers.ClapAudioModelWithProjection)
        return ClapEncoder(source, whole.audio_model)
    assert source.kind == "clap_audio_model"
    if "ClapAudioModelWithProjection" in (source.config.get("architectures") or ()):
        whole = load_network(source, transformers.ClapAudioModelWithProjection)
        return ClapEncoder(source, whole.audio_model)
    return ClapEncoder(source, load_network(source, transformers.ClapAudioModel))


def check_window(half: AudioEncoder, name: str, rate_hz: int, window_s: float) -> None:
    """Reject a sample rate or window that the network does not support.

    Raises:
        InputError: Names what it supports.
    """
    if rate_hz != half.rate_hz:
        raise InputError(
            "conflicting-options",
            f"backbone {name!r} takes audio at {half.rate_hz} Hz, not at {rate_hz}: use a preset "
            "with that rate or none, and a new store folder",
        )
    if half.longest_s is not None and window_s > half.longest_s + 1e-6:
        raise InputError(
            "conflicting-options",
            f"backbone {name!r} takes at most {half.longest_s:g} s of audio, not {window_s:g}: use "
            "a preset with a shorter window or none, and a new store folder",
        )
