"""Clips of synthetic dataset 0 for the training of the small encoders, rendered into memory.

The clips equal those that `cign synth` writes and `cign prepare` reads, with two differences: only
a few frames of each clip are rendered, and nothing is written to disk. They pass through the same
H.264 and AAC encoders.

Legend: N clips, F frames per clip, S frame size, L samples, P tokens, C classes.
"""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from cign.synthetic import (
    ClipDraw,
    SynthConfig,
    SyntheticDataset,
    plan,
    render_audio,
    render_frames,
    true_intervals,
)
from cign.synthetic.config import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from cign.synthetic.encode import write_mp4
from cign.utils.progress import Progress

# Share of the clips per variant: mostly plain clips, and some with small objects for the maps.
_VARIANT_SHARES = {"plain": 0.6, "duet": 0.2, "clutter": 0.2}
_TOKEN_PX = 16
_TOKEN_SAMPLES = 16 * 256
# A patch belongs to an object that covers more than the first share of it, and to the background
# if less than the second share is covered; otherwise it is not used in training.
_COVERED, _BARE = 0.3, 0.05
_CLIPS_PER_JOB = 32


@dataclass(frozen=True, kw_only=True)
class PretrainSet:
    """Rendered clips and the targets of each token.

    Attributes:
        frames: ``[N, F, S, S, 3]``, uint8.
        audio: ``[N, L]``, int16.
        visual_targets: ``[N, F, P_v, C + 1]``, float16: a distribution over the classes and, last,
            the background; all zero for unused patches.
        audio_targets: ``[N, P_a, C + 1]``, likewise.
        labels: ``[N]``, the first label of each clip, correct or not.
    """

    frames: NDArray[np.uint8]
    audio: NDArray[np.int16]
    visual_targets: NDArray[np.float16]
    audio_targets: NDArray[np.float16]
    labels: NDArray[np.int64]


def training_clips(num_classes: int, clips_per_class: int, seed: int) -> list[ClipDraw]:
    """List clips of synthetic dataset 0 in all three variants, each with its own seed."""
    clips: list[ClipDraw] = []
    for i, (variant, share) in enumerate(_VARIANT_SHARES.items()):
        num_clips = max(1, round(share * clips_per_class))
        # Duets follow the solos, which come first in that variant.
        solos = SynthConfig(num_train=30).num_solos if variant == "duet" else 0
        config = SynthConfig(
            world=0,
            seed=3 * seed + i,
            variant=variant,
            num_classes=num_classes,
            num_train=max(num_clips + solos, 3 * solos),
            num_val=0,
            num_test=0,
        )
        first = config.num_solos if variant == "duet" else 0
        clips += [c for c in plan(config) if first <= c.index < first + num_clips]
    return clips


def held_out_clips(num_classes: int, clips_per_class: int, seed: int) -> list[ClipDraw]:
    """List plain clips of the same classes that are not used in training."""
    config = SynthConfig(
        world=0,
        seed=3 * seed,
        num_classes=num_classes,
        num_train=1,
        num_val=0,
        num_test=clips_per_class,
    )
    return [clip for clip in plan(config) if clip.split == "test"]


def render_set(
    clips: Sequence[ClipDraw],
    num_classes: int,
    frame_numbers: Sequence[int],
    *,
    num_workers: int,
    progress: Progress,
) -> PretrainSet:
    """Render clips in parallel processes.

    Args:
        clips: Clips to render.
        num_classes: C.
        frame_numbers: Indices of the F frames to render of each clip.
        num_workers: Number of processes.
        progress: Receives the number of clips done.
    """
    jobs = [
        (clips[i : i + _CLIPS_PER_JOB], num_classes, tuple(frame_numbers))
        for i in range(0, len(clips), _CLIPS_PER_JOB)
    ]
    progress.start("Rendering clips of synthetic dataset 0", len(clips))
    parts: list[PretrainSet] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        for part in pool.map(_render_job, jobs):
            parts.append(part)
            progress.advance(len(part.labels))
    progress.stop()
    return PretrainSet(
        frames=np.concatenate([part.frames for part in parts]),
        audio=np.concatenate([part.audio for part in parts]),
        visual_targets=np.concatenate([part.visual_targets for part in parts]),
        audio_targets=np.concatenate([part.audio_targets for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )


def _render_job(job: tuple[Sequence[ClipDraw], int, tuple[int, ...]]) -> PretrainSet:
    clips, num_classes, frame_numbers = job
    world = SyntheticDataset(clips[0].world)
    frames, audio, visual_targets, audio_targets = [], [], [], []
    for clip in clips:
        raw_frames, coverages = render_frames(world, clip, frame_numbers)
        decoded = through_codecs(raw_frames, render_audio(world, clip))
        frames.append(decoded[0])
        audio.append(decoded[1])
        visual_targets.append(_visual_targets(clip, coverages, num_classes, frames[-1].shape))
        audio_targets.append(_audio_targets(world, clip, num_classes, len(audio[-1])))
    return PretrainSet(
        frames=np.stack(frames),
        audio=np.stack(audio),
        visual_targets=np.stack(visual_targets),
        audio_targets=np.stack(audio_targets),
        labels=np.array([clip.class_ids[0] for clip in clips], np.int64),
    )


def through_codecs(
    frames: NDArray[np.uint8], audio: NDArray[np.int16]
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Encode and decode frames ``[F, S, S, 3]`` and audio ``[L]``; shapes do not change."""
    file = io.BytesIO()
    write_mp4(file, frames, audio)
    file.seek(0)
    with av.open(file, "r") as container:
        decoded = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    file.seek(0)
    with av.open(file, "r") as container:
        pieces = [f.to_ndarray()[0] for f in container.decode(audio=0)]
    wave = np.concatenate(pieces)[: len(audio)] * 32768.0
    return np.stack(decoded), np.clip(np.round(wave), -32768, 32767).astype(np.int16)


def _visual_targets(
    clip: ClipDraw,
    coverages: Sequence[NDArray[np.float32]],
    num_classes: int,
    shape: tuple[int, ...],
) -> NDArray[np.float16]:
    """The class distribution of each patch, ``[F, P_v, C + 1]``."""
    num_frames, side = shape[0], shape[1] // _TOKEN_PX
    patches = (num_frames, side, _TOKEN_PX, side, _TOKEN_PX)
    class_ids = [clip.other_id] if clip.condition == "other_picture" else list(clip.class_ids)
    target = np.zeros((num_frames, side * side, num_classes + 1), np.float32)
    total = np.zeros((num_frames, side * side), np.float32)
    for class_id, coverage in zip(class_ids, coverages, strict=False):
        share = coverage.reshape(patches).mean(axis=(2, 4)).reshape(num_frames, -1)
        target[..., class_id] += np.where(share > _COVERED, share, 0.0)
        total += share
    target /= np.maximum(target.sum(axis=-1, keepdims=True), 1e-6)
    target[..., -1] = total < _BARE
    return target.astype(np.float16)


def _audio_targets(
    world: SyntheticDataset, clip: ClipDraw, num_classes: int, num_samples: int
) -> NDArray[np.float16]:
    """The class distribution in the middle of each audio token, ``[P_a, C + 1]``."""
    num_tokens = -(-(1 + num_samples // 256) // 16)
    middles_s = (np.arange(num_tokens) + 0.5) * _TOKEN_SAMPLES / SAMPLE_RATE_HZ
    target = np.zeros((num_tokens, num_classes + 1), np.float32)
    if clip.condition != "drowned":
        class_ids = [clip.other_id] if clip.condition == "other_sound" else list(clip.class_ids)
        intervals = true_intervals(world, clip)
        for class_id, (start_s, end_s) in zip(class_ids, intervals, strict=True):
            target[(middles_s > start_s) & (middles_s < end_s), class_id] = 1.0
    target[..., -1] = target.sum(axis=-1) == 0
    target /= target.sum(axis=-1, keepdims=True)
    return target.astype(np.float16)


def middle_frames(num_frames: int, duration_s: float = 3.0) -> list[int]:
    """Indices of frames spread evenly over a clip; for one frame, the middle one."""
    total = round(duration_s * FRAME_RATE_HZ)
    return [int((i + 0.5) / num_frames * total) for i in range(num_frames)]
