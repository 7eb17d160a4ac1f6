"""Embeddings of test clips by a method, and their division into audio and visual columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cign.data.batches import ClipSource, cut
from cign.data.tasks import IntArray
from cign.methods.base import Method
from cign.metrics.embedded import FILE, MAX_CLIPS, Embeddings, sample_clips
from cign.training.loop import Loop
from cign.vocabulary import EVALUATION_BATCH

_PROBED = 32
_TOLERANCE = (
    1e-4  # relative to a column's largest value; covers rounding from another order of summation
)


@torch.inference_mode()
def embed_clips(
    method: Method,
    source: ClipSource,
    indices: IntArray,
    device: str | torch.device = "cpu",
    batch_size: int = EVALUATION_BATCH,
) -> NDArray[np.float32]:
    """Embed clips.

    Args:
        method: The method; it is put into evaluation mode.
        source: Reads the clips.
        indices: Indices of the clips, shape [N], at least one.
        device: Device of the method.
        batch_size: Clips per forward pass.

    Returns:
        float32 [N, E].
    """
    method.eval()
    parts = []
    for some in cut(indices, batch_size):
        audio, visual = source.read(some)
        parts.append(method.embed(audio.to(device), visual.to(device)).float().cpu().numpy())
    return np.concatenate(parts)


@torch.inference_mode()
def modality_split(
    method: Method, audio: Tensor, visual: Tensor
) -> tuple[int | None, tuple[str, ...]]:
    """Find where the audio columns of an embedding end, by experiment.

    `Method.embed` concatenates audio and visual features, with the widths of the tokens or with one
    common width. Which one applies, and whether a half also depends on the other modality, is found
    by exchanging the visual (or audio) inputs between clips and comparing the columns.

    Args:
        method: In evaluation mode.
        audio: Audio of at least two clips, as `Method.embed` takes it.
        visual: Visual input of the same clips.

    Returns:
        The number of audio columns, and which of ``audio`` and ``visual`` also depend on the other
        modality; None and an empty tuple if no split explains the changes.
    """
    unchanged = method.embed(audio, visual).float()
    on_audio = _changed(unchanged, method.embed(audio.roll(1, 0), visual).float())
    on_visual = _changed(unchanged, method.embed(audio, visual.roll(1, 0)).float())
    num_columns, shape = unchanged.shape[1], method.setup.shape
    places = [num_columns // 2] if num_columns % 2 == 0 else []
    if num_columns == shape.audio_dim + shape.visual_dim:
        places.insert(0, shape.audio_dim)
    for place in places:
        own = on_audio[:place].any() and on_visual[place:].any()
        foreign = (on_visual & ~on_audio)[:place].any() or (on_audio & ~on_visual)[place:].any()
        if own and not foreign:
            mixed = {"audio": on_visual[:place].any(), "visual": on_audio[place:].any()}
            return place, tuple(name for name, is_mixed in mixed.items() if is_mixed)
    return None, ()


def write_embeddings(folder: Path, loop: Loop, most: int = MAX_CLIPS) -> None:
    """Write the embeddings of a run's test clips by its final model into the run folder.

    Args:
        folder: The run folder.
        loop: The finished training loop.
        most: Maximum number of clips; the sample depends only on their ids.
    """
    if len(loop.test) < 2:
        return
    predictions, method, device = loop.predictions, loop.method, loop.device
    rows = sample_clips(predictions.clip_ids, most)
    source, indices = loop.test_source or loop.source, loop.test[rows]
    vectors = embed_clips(method, source, indices, device, loop.eval_batch_size)
    audio, visual = source.read(indices[: min(_PROBED, max(2, loop.eval_batch_size))])
    split, mixed = modality_split(method, audio.to(device), visual.to(device))
    Embeddings(
        clip_ids=[predictions.clip_ids[row] for row in rows],
        labels=[predictions.labels[row] for row in rows],
        class_names=predictions.class_names,
        task_sizes=predictions.task_sizes,
        vectors=vectors,
        split=split,
        mixed=mixed,
        num_test=len(loop.test),
    ).save(folder / FILE)


def _changed(before: Tensor, after: Tensor) -> NDArray[np.bool_]:
    """Which columns of [B, E] differ by more than rounding, shape [E]."""
    size = before.abs().amax(dim=0).clamp_min(torch.finfo(torch.float32).tiny)
    return np.asarray(((before - after).abs().amax(dim=0) > _TOLERANCE * size).cpu().numpy())
