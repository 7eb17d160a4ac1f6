"""A visual network and an audio network as one backbone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import Tensor

from cign.backbones.fitting import FittedBackbone
from cign.backbones.hub.audio import AudioEncoder, ResNetAudio, check_window, load_audio_encoder
from cign.backbones.hub.loading import (
    AUDIO,
    LITE0,
    ONNX_AUDIO,
    ONNX_VISUAL,
    SFX,
    VISUAL,
    Source,
    recorded,
)
from cign.backbones.hub.visual import HubVisual, ImageInput, VisualEncoder, load_visual_encoder
from cign.backbones.packaged.accelerated import ONNXRUNTIME, TORCH, has_onnxruntime
from cign.backbones.packaged.loading import load_lite0, load_sfx
from cign.backbones.resnet import HUB_RESNET, resnet_pair
from cign.backbones.sources import find_source
from cign.backbones.user_onnx import OnnxAudio, OnnxVisual
from cign.data.media.decode import PRESETS, MediaSpec
from cign.errors import InputError

MOST_BY_DEFAULT = 4  # rows, columns, frequencies and time steps (ours)
_REDUCED = {LITE0, SFX, ONNX_VISUAL, ONNX_AUDIO}
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
    def default_tokens(self) -> str | None:
        """Reduction of the tokens that stores cache if none is asked for; None for none."""
        if not {self.visual.source.kind, self.audio.source.kind} & _REDUCED:
            return None
        rows, columns, frequencies, moments = (
            min(MOST_BY_DEFAULT, side) for side in (*self.visual_grid, *self.audio_grid)
        )
        return f"{rows}x{columns}+{frequencies}x{moments}"

    @property
    def runtime(self) -> str:
        """See `Backbone`."""
        runtimes = {getattr(half.network, "runtime", TORCH) for half in (self.visual, self.audio)}
        return ONNXRUNTIME if ONNXRUNTIME in runtimes else TORCH

    @property
    def record(self) -> dict[str, Any]:
        """See `FittedBackbone`."""
        return {"visual": self.visual.source.record, "audio": self.audio.source.record}

    @property
    def notes(self) -> tuple[str, ...]:
        """See `FittedBackbone`."""
        notes = [
            f"{encoder.source.name} has no preprocessor_config.json: its {what} input is prepared "
            f"as published for {encoder.source.kind}"
            for encoder, what in ((self.visual, "visual"), (self.audio, "audio"))
            if encoder.source.preprocessing is None
            and encoder.source.name not in RELEASE
            and encoder.source.kind not in _REDUCED
        ]
        if self.visual.source.kind == LITE0 and not has_onnxruntime():
            notes.append(
                "lite0 takes about 3 times as long on a CPU without onnx and onnxruntime: "
                "`pip install onnx onnxruntime`"
            )
        return tuple(notes)

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
        visual: A visual network (see `cign.backbones.sources`), ``resnet18`` or
            ``resnet18-random``.
        audio: An audio network, or ``resnet18-random``.
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
        (sources[0], VISUAL, AUDIO, "a visual"),
        (sources[1], AUDIO, VISUAL, "an audio"),
    ):
        if source is not None and source.kind not in allowed:
            remedy = (
                "swap the two names, VISUAL+AUDIO" if source.kind in others else "name it alone"
            )
            raise InputError(
                "unsupported",
                f"backbone {source.name!r} is a {source.kind}, which is not {what} network "
                f"({', '.join(kind for kind in allowed if kind not in _REDUCED)}): {remedy}",
            )
    return HubPair(name, _visual(sources[0]), _audio(sources[1]))


def _source(name: str, weights: bool) -> Source | None:
    """The source of an encoder; None for the random networks of the release."""
    if name in RELEASE:
        hub = RELEASE[name]
        return None if hub is None else find_source(hub, weights=weights)
    return find_source(name, weights=weights)


def _recorded(record: dict[str, Any]) -> Source | None:
    if record["name"] in RELEASE:
        return None
    source = recorded(record)
    if source.kind in (ONNX_VISUAL, ONNX_AUDIO):
        raise InputError(
            "damaged",
            f"a model claims to have trained {source.name!r}, a network in ONNX, which cannot be "
            "trained: restore or recreate the model",
        )
    return source


def _release(name: str) -> Source:
    return Source(name=name, config={"model_type": "resnet"}, preprocessing=None)


def _visual(source: Source | None) -> VisualEncoder:
    if source is None:
        spec = PRESETS["release"]
        network = resnet_pair(None).visual
        return HubVisual(_release("resnet18-random"), network, ImageInput(), spec.frame_px)
    if source.kind == LITE0:
        return load_lite0(source)
    return OnnxVisual(source) if source.kind == ONNX_VISUAL else load_visual_encoder(source)


def _audio(source: Source | None) -> AudioEncoder:
    if source is None:
        spec = PRESETS["release"]
        network = resnet_pair(None).audio
        return ResNetAudio(_release("resnet18-random"), network, spec.rate_hz, spec.window_s)
    if source.kind == SFX:
        return load_sfx(source)
    return OnnxAudio(source) if source.kind == ONNX_AUDIO else load_audio_encoder(source)
