"""A visual network and an audio network as one backbone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import Tensor

from cign.backbones.fitting import FittedBackbone
from cign.backbones.hub.audio import AudioEncoder, ResNetAudio, check_window, load_audio_encoder
from cign.backbones.hub.loading import (
    PICTURES,
    SOUNDS,
    Source,
    read_source,
    recorded,
)
from cign.backbones.hub.visual import ImageInput, VisualEncoder, load_visual_encoder
from cign.backbones.resnet import HUB_RESNET, resnet_pair
from cign.data.media.decode import PRESETS, MediaSpec
from cign.errors import InputError

RELEASE = {"resnet18": HUB_RESNET, "resnet18-random": None}


class HubPair(FittedBackbone):
    """A pair of any visual encoder and any audio encoder.

    Args:
        name: Name of the pair.
        visual: The visual encoder.
        audio: The audio encoder.
    """

    def __init__(self, name: str, visual: VisualEncoder, audio: AudioEncoder) -> None:
        super().__init__()
        self.name = name
        self.visual, self.audio = visual, audio
        self.input_px = visual.how.input_px
        self.visual_dim, self.audio_dim = visual.dim, audio.dim
        self.visual_grid = visual.grid
        self.take(
            MediaSpec(
                num_frames=visual.num_frames or 1,
                frame_px=visual.frame_px,
                rate_hz=audio.rate_hz,
                window_s=audio.window_s,
            )
        )

    def take(self, spec: MediaSpec) -> None:
        """See `FittedBackbone`."""
        fixed = self.visual.num_frames
        if fixed is not None and spec.num_frames != fixed:
            raise InputError(
                "conflicting-options",
                f"backbone {self.name!r} takes {fixed} frames of a clip, not {spec.num_frames}: "
                f"use --frames {fixed} or leave it out, and a preset with {fixed} frames or none",
            )
        check_window(self.audio, self.name, spec.rate_hz, spec.window_s)
        self.spec = spec
        self.audio_grid = self.audio.grid(spec.num_samples)

    @property
    def num_visual_tokens(self) -> int:
        """See `Backbone`; a visual time step may cover several frames."""
        rows, columns = self.visual_grid
        return self.visual.num_moments(self.spec.num_frames) * rows * columns

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens: Tensor = self.audio(audio)
        return tokens

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens: Tensor = self.visual(frames)
        return tokens

    @property
    def record(self) -> dict[str, Any]:
        """See `FittedBackbone`."""
        return {"visual": self.visual.source.record, "audio": self.audio.source.record}

    @property
    def notes(self) -> tuple[str, ...]:
        """See `FittedBackbone`."""
        return tuple(
            f"{encoder.source.name} has no preprocessor_config.json: its {what} input is prepared "
            f"as published for {encoder.source.kind}"
            for encoder, what in ((self.visual, "visual"), (self.audio, "audio"))
            if encoder.source.preprocessing is None and encoder.source.name not in RELEASE
        )

    @property
    def fingerprint(self) -> str:
        """See `Backbone`; it includes the constants of the preprocessing."""
        settings = json.dumps([self.visual.settings, self.audio.settings], sort_keys=True)
        return hashlib.sha256(f"{super().fingerprint} {settings}".encode()).hexdigest()


def load_pair(
    visual: str, audio: str, name: str, *, weights: bool = True, record: Any = None
) -> HubPair:
    """Load a pair.

    Args:
        visual: Hub name or folder of a visual network, ``resnet18`` or ``resnet18-random``.
        audio: Hub name or folder of an audio network, or ``resnet18-random``.
        name: Name of the pair.
        weights: False leaves the weights random, because they are loaded afterwards.
        record: Value of `HubPair.record`, to build the same networks without their folders.

    Raises:
        InputError: If a network cannot be loaded, or is of the wrong modality.
    """
    if record is not None:
        sources = [_recorded(record[kind]) for kind in ("visual", "audio")]
    else:
        sources = [_source(encoder, weights) for encoder in (visual, audio)]
    for source, allowed, others, what in (
        (sources[0], PICTURES, SOUNDS, "a visual"),
        (sources[1], SOUNDS, PICTURES, "an audio"),
    ):
        if source is not None and source.kind not in allowed:
            remedy = (
                "swap the two names, VISUAL+AUDIO" if source.kind in others else "name it alone"
            )
            raise InputError(
                "unsupported",
                f"backbone {source.name!r} is a {source.kind}, which is not {what} network "
                f"({', '.join(allowed)}): {remedy}",
            )
    return HubPair(name, _visual(sources[0]), _audio(sources[1]))


def _source(name: str, weights: bool) -> Source | None:
    """The source of an encoder; None for the random networks of the release."""
    if name in RELEASE:
        hub = RELEASE[name]
        return None if hub is None else read_source(hub, weights=weights)
    return read_source(name, weights=weights)


def _recorded(record: dict[str, Any]) -> Source | None:
    return None if record["name"] in RELEASE else recorded(record)


def _release(name: str) -> Source:
    return Source(name=name, config={"model_type": "resnet"}, preprocessing=None)


def _visual(source: Source | None) -> VisualEncoder:
    if source is not None:
        return load_visual_encoder(source)
    spec = PRESETS["release"]
    network = resnet_pair(None).visual
    return VisualEncoder(_release("resnet18-random"), network, ImageInput(), spec.frame_px)


def _audio(source: Source | None) -> AudioEncoder:
    if source is not None:
        return load_audio_encoder(source)
    spec = PRESETS["release"]
    network = resnet_pair(None).audio
    return ResNetAudio(_release("resnet18-random"), network, spec.rate_hz, spec.window_s)
