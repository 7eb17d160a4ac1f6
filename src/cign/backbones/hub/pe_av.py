"""PE-AV (Vyas et al. 2025, arXiv 2512.19687): one network that encodes both modalities.

Its audio and video encoders are used as the two encoders of a pair. Its fusion and text networks
are not used, since audio-only and visual-only predictions must be separate here. There is one token
per frame, and one audio token per 40 ms.

Legend: B clips, K frames per clip, P input size, L samples, T audio time steps, D width.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from math import prod
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from cign.backbones.hub.audio import CLIP_S, AudioEncoder
from cign.backbones.hub.loading import Source, load_network
from cign.backbones.hub.pair import HubPair
from cign.backbones.hub.visual import HALF, ImageInput, VisualEncoder
from cign.errors import InputError

RATE_HZ = 48_000
NUM_FRAMES = 16  # of the 16-frame checkpoints; the others accept any number
INPUT_PX = 336


class PeVisual(VisualEncoder):
    """The video encoder of PE-AV: one token per frame, with attention between all frames.

    Args:
        source: Source of the network.
        network: A PeVideoEncoder.
    """

    def __init__(self, source: Source, network: nn.Module) -> None:
        settings = source.preprocessing or {}
        size_px = max(settings["size"].values()) if "size" in settings else INPUT_PX
        how = ImageInput(
            mean=tuple(settings.get("image_mean") or HALF),
            std=tuple(settings.get("image_std") or HALF),
            resize_px=size_px,
            input_px=size_px,
        )
        config: Any = network.config
        super().__init__(source, network, how, dim=int(config.hidden_size), grid=(1, 1))

    def tokens(self, x: Tensor) -> Tensor:
        """See `VisualEncoder`; shape [B, K, D]."""
        tokens: Tensor = self.network(pixel_values_videos=x).last_hidden_state
        return tokens


class PeAudio(AudioEncoder):
    """The audio encoder of PE-AV: one token per 1,920 samples, with reflection padding.

    Args:
        source: Source of the network.
        network: A PeAudioEncoder.
    """

    def __init__(self, source: Source, network: nn.Module) -> None:
        super().__init__()
        self.source, self.network = source, network
        config: Any = network.config
        self.dim, self.hop = int(config.hidden_size), prod(config.dac_config.downsampling_ratios)
        self.rate_hz, self.window_s, self.longest_s = RATE_HZ, CLIP_S, None
        self.settings = {"kind": source.kind, "rate_hz": RATE_HZ}

    def grid(self, num_samples: int) -> tuple[int, int]:
        """See `AudioEncoder`."""
        return 1, -(-num_samples // self.hop)

    def to_input(self, waveform: Tensor) -> Tensor:
        """See `AudioEncoder`; shape [B, 1, samples]."""
        x = waveform.unsqueeze(1)
        return F.pad(x, (0, -x.shape[-1] % self.hop), mode="reflect")

    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """See `AudioEncoder`."""
        out: Tensor = self.network(input_values=features).last_hidden_state
        return out


def load_pe_av(source: Source, name: str) -> HubPair:
    """Load PE-AV.

    Raises:
        InputError: If timm, which builds its visual network, cannot be imported, or the weights
            cannot be loaded.
    """
    try:
        importlib.import_module("timm")
    except Exception as error:  # an incompatible build raises many kinds of errors
        reason = str(error).splitlines()[0]
        raise InputError(
            "missing-package",
            f"backbone {name!r} builds its visual network with timm, which cannot be imported "
            f"({reason}): install timm and a torchvision that fits this torch, or use another "
            "backbone, for example facebook/dinov2-small+laion/clap-htsat-unfused",
        ) from None
    import transformers

    whole: Any = load_network(source, transformers.PeAudioVideoModel)
    parts = whole.audio_video_encoder.embedder
    visual, audio = (
        PeVisual(source, parts.video_encoder),
        PeAudio(source, parts.audio_encoder),
    )
    pair = HubPair(name, visual, audio)
    pair.take(replace(pair.spec, num_frames=NUM_FRAMES))
    return pair
