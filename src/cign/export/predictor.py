"""The predictor as one network: waveform and frames in, probabilities and unknown scores out.

Legend: B clips, L samples, K frames, S pixels, C classes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cign.backbones.base import Backbone
from cign.data.media.decode import MediaSpec
from cign.export.evidence import without_triangular_systems
from cign.saved_model.model import Model
from cign.vocabulary import MODALITIES

INPUTS = ("waveform", "frames")
UNKNOWN = {modality: f"unknown_{modality}" for modality in MODALITIES}
OUTPUTS = (*MODALITIES, *UNKNOWN.values())


class Predictor(nn.Module):
    """Computes what `cign.inference.predict.predict_batch` does for clips with audio and video.

    Args:
        model: Model in evaluation mode; its reader is changed, so pass a copy (`in_float32`).
        backbone: Its frozen backbone; None if the method holds its encoders.
    """

    def __init__(self, model: Model, backbone: Backbone | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.method = model.method
        self._rule, self._reader = model.unknown, model.evidence_reader
        self.whitening = without_triangular_systems(self._reader)

    def forward(self, waveform: Tensor, frames: Tensor) -> tuple[Tensor, ...]:
        """Predict clips.

        Args:
            waveform: float32 in -1..1, shape [B, L].
            frames: uint8 RGB, shape [B, K, S, S, 3].

        Returns:
            `OUTPUTS`, float32: audio-only, visual-only and audio-visual probabilities, each
            [B, C], then the unknown scores of the three, each [B].
        """
        audio, visual = waveform, frames
        if self.backbone is not None:
            # float16, like the cached tokens that the model was trained on.
            audio = self.backbone.audio_tokens(waveform).half()
            visual = self.backbone.visual_tokens(frames).half()
        evidence = self._reader.read(audio, visual)
        probabilities = [evidence.probabilities[name].float() for name in MODALITIES]
        unknown = [self._rule.score_of(evidence, name).float() for name in MODALITIES]
        return *probabilities, *unknown


def in_float32(model: Model) -> Model:
    """A copy of a model that computes in float32 throughout, with the same weights."""
    method = copy.deepcopy(model.method)
    method.setup = dataclasses.replace(method.setup, bf16=False)
    for module in method.modules():
        if getattr(module, "bf16", False):
            module.bf16 = False  # type: ignore[assignment]
    return dataclasses.replace(model, method=method.eval().requires_grad_(False))


def predictor_of(model: Model, backbone: Backbone | None) -> Predictor:
    """The network of a model, without the tensors that prediction does not need.

    The sums of a closed-form method and the networks that a method distils from are many times
    larger than the tensors used for prediction.

    Args:
        model: The model; its method is changed, so pass a copy (`in_float32`).
        backbone: Its frozen backbone; None if the method holds its encoders.
    """
    model.method.settle()
    network = Predictor(model, backbone).eval()
    used = _Used()
    with torch.no_grad(), used:
        network(*example(model.media_spec))
    for module in model.method.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if id(weight) not in used.ids:
                setattr(module, name, nn.Parameter(weight.new_empty(0), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            if id(buffer) not in used.ids:
                setattr(module, name, buffer.new_empty(0))
    return network


def example(
    spec: MediaSpec, *, num_clips: int = 3, num_samples: int | None = None, num_frames: int = 0
) -> tuple[Tensor, Tensor]:
    """Random inputs: waveform [B, L] and frames [B, K, S, S, 3].

    Args:
        spec: Specification of the clips.
        num_clips: B.
        num_samples: L; None: as specified.
        num_frames: K; 0: as specified.
    """
    draw = torch.Generator().manual_seed(0)
    length = num_samples or spec.num_samples
    shape = (num_clips, num_frames or spec.num_frames, spec.frame_px, spec.frame_px, 3)
    waveform = torch.rand(num_clips, length, generator=draw) - 0.5
    return waveform, torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)


class _Used(TorchFunctionMode):
    """Records the tensors that are used: the arguments of every torch function."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ids.update(id(value) for value in _tensors((args, kwargs)))
        return func(*args, **(kwargs or {}))


def _tensors(values: Any) -> Iterator[Tensor]:
    """All tensors in nested arguments."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
