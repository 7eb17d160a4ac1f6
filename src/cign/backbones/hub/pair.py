"""A picture network and a sound network as one backbone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import Tensor

from cign.backbones.fitting import FittedBackbone
from cign.backbones.hub.loading import (
    PICTURES,
    SOUNDS,
    Source,
    read_source,
    recorded,
)
from cign.backbones.hub.pictures import PictureHalf, PictureInput, load_pictures
from cign.backbones.hub.sounds import ResNetSound, SoundHalf, check_window, load_sounds
from cign.backbones.resnet import resnet_pair
from cign.data.media.decode import PRESETS, MediaSpec
from cign.errors import InputError

HUB_RESNET = "microsoft/resnet-18"
RELEASE = {"resnet18": HUB_RESNET, "resnet18-random": None}


class HubPair(FittedBackbone):
    """Any picture half with any sound half.

    Args:
        name: What to call it.
        visual: The picture half.
        audio: The sound half.
    """

    def __init__(self, name: str, visual: PictureHalf, audio: SoundHalf) -> None:
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
                f"backbone {self.name!r} takes {fixed} frames of a clip, not {spec.num_frames}: "
                f"use --frames {fixed} or leave it out, and a preset with as many or none"
            )
        check_window(self.audio, self.name, spec.rate_hz, spec.window_s)
        self.spec = spec
        self.audio_grid = self.audio.grid(spec.num_samples)

    @property
    def num_visual_tokens(self) -> int:
        """See `Backbone`; of the moments that frames make up."""
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
            f"{half.source.name} has no preprocessor_config.json: its {what} is prepared as "
            f"published for {half.source.kind}"
            for half, what in ((self.visual, "picture"), (self.audio, "sound"))
            if half.source.preprocessing is None and half.source.name not in RELEASE
        )

    @property
    def fingerprint(self) -> str:
        """See `Backbone`; constants of the preprocessing count."""
        settings = json.dumps([self.visual.settings, self.audio.settings], sort_keys=True)
        return hashlib.sha256(f"{super().fingerprint} {settings}".encode()).hexdigest()


def load_pair(
    visual: str, audio: str, name: str, *, weights: bool = True, record: Any = None
) -> HubPair:
    """Load a pair.

    Args:
        visual: Hub name or folder of a picture network, ``resnet18`` or ``resnet18-random``.
        audio: Hub name or folder of a sound network, or ``resnet18-random``.
        name: What to call the pair.
        weights: False leaves them random, for weights that are loaded afterwards.
        record: What `HubPair.record` gave, to build the same networks without their folders.

    Raises:
        InputError: If a half cannot be loaded, or is of the other kind.
    """
    if record is not None:
        sources = [_recorded(record[kind]) for kind in ("visual", "audio")]
    else:
        sources = [_source(half, weights) for half in (visual, audio)]
    for source, fitting, others, what in (
        (sources[0], PICTURES, SOUNDS, "picture"),
        (sources[1], SOUNDS, PICTURES, "sound"),
    ):
        if source is not None and source.kind not in fitting:
            other = "the other way round" if source.kind in others else "by itself"
            raise InputError(
                f"backbone {source.name!r} is a {source.kind}, which is no {what} network "
                f"({', '.join(fitting)}): name it {other}, as in VISUAL+AUDIO"
            )
    return HubPair(name, _pictures(visual, sources[0]), _sounds(sources[1]))


def _source(half: str, weights: bool) -> Source | None:
    """Where a half comes from; None for the release's random networks."""
    if half in RELEASE:
        hub = RELEASE[half]
        return None if hub is None else read_source(hub, weights=weights)
    return read_source(half, weights=weights)


def _recorded(record: dict[str, Any]) -> Source | None:
    return None if record["name"] in RELEASE else recorded(record)


def _release(half: str) -> Source:
    return Source(name=half, config={"model_type": "resnet"}, preprocessing=None)


def _pictures(half: str, source: Source | None) -> PictureHalf:
    if source is not None:
        return load_pictures(source)
    spec = PRESETS["release"]
    network = resnet_pair(None).visual
    return PictureHalf(_release("resnet18-random"), network, PictureInput(), spec.frame_px)


def _sounds(source: Source | None) -> SoundHalf:
    if source is not None:
        return load_sounds(source)
    spec = PRESETS["release"]
    network = resnet_pair(None).audio
    return ResNetSound(_release("resnet18-random"), network, spec.rate_hz, spec.window_s)
