"""Scores of clips by a method: the readings in evaluation mode, batch after batch."""

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
from cign.vocabulary import MODALITIES

EVALUATION_BATCH = 256


def judge_by_what_is_there(
    values: Mapping[str, NDArray[Any]], has_audio: BoolArray, has_visual: BoolArray
) -> None:
    """Where one modality is missing, put the other's reading in place of the audio-visual one.

    Args:
        values: By reading, each with a row for every clip; changed in place.
        has_audio: Whether each clip has sound, shape [N].
        has_visual: Whether each clip has a picture, shape [N].
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
) -> dict[str, NDArray[np.float32]]:
    """Score clips on the classes seen.

    Args:
        method: Put into evaluation mode.
        source: Reads the clips.
        indices: Which clips, shape [N].
        device: Where the method is; found from its weights if absent.
        progress: Advanced by each clip.

    Returns:
        For each reading float32 scores, shape [N, C]; see `judge_by_what_is_there`.
    """
    progress = progress or Silent()
    device = device_of(method) if device is None else device
    method.eval()
    parts: dict[str, list[NDArray[np.float32]]] = {modality: [] for modality in MODALITIES}
    for some in cut(indices, EVALUATION_BATCH):
        audio, visual = source.read(some)
        scores = method.predict(audio.to(device), visual.to(device)).probabilities
        for modality in MODALITIES:
            parts[modality].append(scores[modality].float().cpu().numpy())
        progress.advance(len(some))
    empty = np.zeros((0, method.num_classes), dtype=np.float32)
    found = {name: np.concatenate(part) if part else empty for name, part in parts.items()}
    judge_by_what_is_there(found, *source.there(indices))
    return found
