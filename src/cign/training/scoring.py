"""Scores of clips by a method in evaluation mode, batch by batch, for each modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cign.data.batches import BoolArray, ClipSource, cut
from cign.data.tasks import IntArray
from cign.methods.base import Method
from cign.utils.devices import device_of
from cign.utils.progress import Progress, Silent
from cign.vocabulary import EVALUATION_BATCH, MODALITIES


def fall_back_to_present_modality(
    values: Mapping[str, NDArray[Any]], has_audio: BoolArray, has_visual: BoolArray
) -> None:
    """If a modality of a clip is missing, replace audio-visual values by those of the other one.

    Args:
        values: By modality, each with one row per clip; changed in place.
        has_audio: Whether each clip has audio, shape [N].
        has_visual: Whether each clip has video, shape [N].
    """
    for modality, alone in (
        ("audio", has_audio & ~has_visual),
        ("visual", has_visual & ~has_audio),
    ):
        values["audio_visual"][alone] = values[modality][alone]


@torch.inference_mode()
def score_clips(
    method: Method,
    source: ClipSource,
    indices: IntArray,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    batch_size: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Score clips on the classes seen so far.

    Args:
        method: The method; it is put into evaluation mode.
        source: Reads the clips.
        indices: Indices of the clips, shape [N].
        device: Device of the method; None takes that of its weights.
        progress: Advanced for each clip.
        batch_size: Clips per forward pass; None takes `EVALUATION_BATCH`.

    Returns:
        For each modality float32 scores, shape [N, C]; see `fall_back_to_present_modality`.
    """
    progress = progress or Silent()
    device = device_of(method) if device is None else device
    method.eval()
    parts: dict[str, list[NDArray[np.float32]]] = {modality: [] for modality in MODALITIES}
    for some in cut(indices, batch_size or EVALUATION_BATCH):
        audio, visual = source.read(some)
        scores = method(audio.to(device), visual.to(device)).probabilities
        for modality in MODALITIES:
            parts[modality].append(scores[modality].float().cpu().numpy())
        progress.advance(len(some))
    empty = np.zeros((0, method.num_classes), dtype=np.float32)
    found = {name: np.concatenate(part) if part else empty for name, part in parts.items()}
    fall_back_to_present_modality(found, *source.availability(indices))
    return found
