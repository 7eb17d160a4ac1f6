"""PE-AV (Vyas et al. 2025, arXiv 2512.19687): one network that reads both modalities.

Its audio and its video encoder are taken as the halves of a pair; what joins them, and its text
network, are left out, since sound and picture are told apart here. A frame is one token, a sound
one for each 40 ms.

Legend: B clips, K frames a clip, P input size, L samples, T moments of the sound, D width.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cign.backbones.hub.loading import Source, load_network
from cign.backbones.hub.pair import HubPair
from cign.backbones.hub.pictures import HALF, PictureHalf, PictureInput
from cign.backbones.hub.sounds import CLIP_S, SoundHalf
from cign.errors import InputError

RATE_HZ = 48_000
NUM_FRAMES = 16  # of the checkpoints named 16-frame; the others take any number
INPUT_PX = 336


class PePictures(PictureHalf):
    """PE-AV's video encoder: one token a frame, each of which has seen all others.

    Args:
        source: Where the network comes from.
        network: A PeVideoEncoder.
    """

    def __init__(self, source: Source, network: nn.Module) -> None:
        nn.Module.__init__(self)
        said = source.preprocessing or {}
        size_px = max(said["size"].values()) if "size" in said else INPUT_PX
        self.source, self.network = source, network
        self.how = PictureInput(
            mean=tuple(said.get("image_mean") or HALF),
            std=tuple(said.get("image_std") or HALF),
            resize_px=size_px,
            input_px=size_px,
        )
        self.register_buffer("mean", torch.tensor(self.how.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(self.how.std).view(3, 1, 1))
        config: Any = network.config
        self.frame_px, self.dim, self.grid = size_px, int(config.hidden_size), (1, 1)
        self.num_frames, self.frames_per_moment = None, 1

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 frames [B, K, S, S, 3] to [B, K, D]."""
        with torch.autocast(frames.device.type, enabled=False):
            x = self.to_input(frames)
        tokens: Tensor = self.network(pixel_values_videos=x).last_hidden_state
        return tokens


class PeSounds(SoundHalf):
    """PE-AV's audio encoder: one token for each 1,920 samples, the last one filled by mirroring.

    Args:
        source: Where the network comes from.
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
        """See `SoundHalf`."""
        return 1, -(-num_samples // self.hop)

    def to_input(self, waveform: Tensor) -> Tensor:
        """See `SoundHalf`; [B, 1, samples]."""
        x = waveform.unsqueeze(1)
        return F.pad(x, (0, -x.shape[-1] % self.hop), mode="reflect")

    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """See `SoundHalf`."""
        out: Tensor = self.network(input_values=features).last_hidden_state
        return out


def load_pe_av(source: Source, name: str) -> HubPair:
    """Load PE-AV.

    Raises:
        InputError: If timm, which builds its picture network, cannot be imported, or the weights
            cannot be loaded.
    """
    try:
        importlib.import_module("timm")
    except Exception as error:  # a build that does not fit torch fails in many ways
        reason = str(error).splitlines()[0]
        raise InputError(
            f"backbone {name!r} builds its picture network with timm, which cannot be imported "
            f"({reason}): install timm and a torchvision that fits this torch, or use another "
            "backbone, for example facebook/dinov2-small+laion/clap-htsat-unfused"
        ) from None
    import transformers

    whole: Any = load_network(source, transformers.PeAudioVideoModel)
    parts = whole.audio_video_encoder.embedder
    pictures, sounds = (
        PePictures(source, parts.video_encoder),
        PeSounds(source, parts.audio_encoder),
    )
    pair = HubPair(name, pictures, sounds)
    pair.take(replace(pair.spec, num_frames=NUM_FRAMES))
    return pair
