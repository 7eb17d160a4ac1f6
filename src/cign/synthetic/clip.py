"""Render one clip: its sources, their positions and intervals, and its condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cign.synthetic import backdrop, image, sound
from cign.synthetic.classes import (
    CLIP_STREAM,
    FIRST_BYSTANDER,
    NUM_BYSTANDERS,
    Look,
    SyntheticDataset,
)
from cign.synthetic.config import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from cign.synthetic.draws import Draws
from cign.synthetic.plan import ClipDraw
from cign.vocabulary import SPLITS

# Radii as shares of the frame's side. With small radii, a box covers at most (2 * 0.19)^2 = 14.4 %
# of the frame.
_RADII = (0.22, 0.38)
_SMALL_RADII = (0.12, 0.19)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Ground truth of a clip, one entry per label that is visible or audible.

    Attributes:
        boxes: Boxes of the labelled objects in the frame at the middle of the clip, in [0, 1].
        sounds: Intervals in which the labelled sources sound, in seconds.
    """

    boxes: tuple[image.Box, ...]
    sounds: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A clip before encoding.

    Attributes:
        frames: ``[T, S, S, 3]``, uint8, RGB.
        audio: ``[L]``, int16, mono.
        facts: Its ground truth.
    """

    frames: NDArray[np.uint8]
    audio: NDArray[np.int16]
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One source: an object and its sound, with separate class ids for misleading clips."""

    look_id: int
    sound_id: int
    performance: sound.Performance
    pose: image.Pose
    is_labelled: bool


def _stream(clip: ClipDraw, part: int) -> Draws:
    split = SPLITS.index(clip.split)
    address = (clip.world, clip.seed, split, clip.class_ids[0], clip.index)
    return Draws(CLIP_STREAM, *address, part)


def _interval(clip: ClipDraw, draws: Draws) -> tuple[float, float]:
    """Draw the interval in which a source sounds.

    The source sounds for at most half of the clip in duet and clutter, else for most of it.
    """
    length_s = clip.duration_s
    if clip.variant in ("duet", "clutter"):
        sounding_s = length_s * draws.uniform(0.3, 0.5)
        start_s = draws.uniform(0.0, length_s - sounding_s)
        return start_s, start_s + sounding_s
    return length_s * draws.uniform(0.0, 0.25), length_s * draws.uniform(0.75, 1.0)


def _places(looks: Sequence[Look], radii: Sequence[float], draws: Draws) -> list[list[float]]:
    """Draw positions inside the frame; of eight draws, use the one with the largest distances."""
    best: tuple[float, list[list[float]]] = (-1.0, [])
    for _ in range(8 if len(radii) > 1 else 1):
        places = []
        for look, radius in zip(looks, radii, strict=True):
            above = min(image.reach(look, radius), 0.9 - radius)
            places.append([draws.uniform(radius, 1 - radius), draws.uniform(above, 1 - radius)])
        gaps = [
            np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(places) for b in places[:i]
        ]
        gap = float(min(gaps, default=0.0))
        if gap > best[0]:
            best = (gap, places)
    return best[1]


def _scene(world: SyntheticDataset, clip: ClipDraw) -> list[_Source]:
    """Draw the sources of a clip: the labelled ones first, then bystanders."""
    draws = _stream(clip, 0)
    pairs = [(class_id, class_id) for class_id in clip.class_ids]
    if clip.condition == "other_sound":
        pairs = [(clip.class_ids[0], clip.other_id)]
    elif clip.condition == "other_picture":
        pairs = [(clip.other_id, clip.class_ids[0])]
    num_labelled = len(pairs)
    if clip.variant == "clutter":
        pairs += [
            (FIRST_BYSTANDER + draws.integer(0, NUM_BYSTANDERS - 1),) * 2
            for _ in range(draws.integer(1, 3))
        ]
    is_small = clip.variant in ("duet", "clutter")
    looks = [world.look(look_id) for look_id, _ in pairs]
    radii = [draws.uniform(*(_SMALL_RADII if is_small else _RADII)) for _ in pairs]
    places = _places(looks, radii, draws)
    sources: list[_Source] = []
    for (look_id, sound_id), radius, place in zip(pairs, radii, places, strict=True):
        pose = image.draw_pose(world.settings, draws, radius, *place)
        performance = sound.perform(world.sound(sound_id), draws, *_interval(clip, draws))
        sources.append(
            _Source(
                look_id=look_id,
                sound_id=sound_id,
                performance=performance,
                pose=pose,
                is_labelled=len(sources) < num_labelled,
            )
        )
    return sources


def _paint_scene(
    world: SyntheticDataset, clip: ClipDraw, sources: list[_Source], times_s: NDArray[np.float32]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]], Draws]:
    """Paint all frames before exposure; return also the coverage of the labelled objects."""
    draws = _stream(clip, 1)
    num_frames = round(clip.duration_s * FRAME_RATE_HZ)
    scenery = backdrop.render_backdrop(world.settings, draws, num_frames, clip.size_px)
    canvas = scenery[np.round(times_s * FRAME_RATE_HZ).astype(int)]
    coverages = []
    labelled = [source for source in sources if source.is_labelled]
    # Bystanders are painted first: a labelled object is never covered by them.
    for source in [s for s in sources if not s.is_labelled] + labelled:
        look = world.look(source.look_id)
        if source.is_labelled and clip.condition == "hidden":
            if draws.chance(0.5):
                _paint_cover(canvas, world, source.pose, draws, times_s)
            continue
        path = image.follow(look, source.pose, source.performance, times_s)
        coverage = image.paint(canvas, look, source.pose, path)
        if source.is_labelled:
            coverages.append(coverage)
    return canvas, coverages, draws


def _paint_cover(
    canvas: NDArray[np.float32],
    world: SyntheticDataset,
    pose: image.Pose,
    draws: Draws,
    times_s: NDArray[np.float32],
) -> None:
    """Paint a sheet that occludes the complete object, which itself is not painted."""
    sheet = replace(backdrop.draw_debris(draws), outline="polygon", fold=5, aspect=1.0)
    over = image.draw_pose(world.settings, draws, 1.5 * pose.radius, pose.x, pose.y)
    path = image.follow(sheet, over, None, times_s)
    image.paint(canvas, sheet, over, path)


def render_frames(
    world: SyntheticDataset, clip: ClipDraw, frame_numbers: Sequence[int] | None = None
) -> tuple[NDArray[np.uint8], list[NDArray[np.float32]]]:
    """Render some or all frames of a clip.

    Args:
        world: The clip's synthetic dataset.
        clip: The clip.
        frame_numbers: The frames to render; None for all. Only the grain of a frame depends on
            this choice.

    Returns:
        Frames ``[T, S, S, 3]`` and, for each visible labelled object, its coverage ``[T, S, S]``.
    """
    if frame_numbers is None:
        frame_numbers = range(round(clip.duration_s * FRAME_RATE_HZ))
    times_s = (np.array(frame_numbers) / FRAME_RATE_HZ).astype(np.float32)
    canvas, coverages, draws = _paint_scene(world, clip, _scene(world, clip), times_s)
    return backdrop.expose(canvas, world.settings, draws), coverages


def render_audio(world: SyntheticDataset, clip: ClipDraw) -> NDArray[np.int16]:
    """Render the audio of a clip, ``[L]``."""
    num_samples = round(clip.duration_s * SAMPLE_RATE_HZ)
    sources = _scene(world, clip)
    draws = _stream(clip, 2)
    tracks = [
        sound.render_sound(world.sound(source.sound_id), source.performance, draws, num_samples)
        for source in sources[: len(clip.class_ids) + 1]  # only one bystander is audible
    ]
    labelled, others = tracks[: len(clip.class_ids)], tracks[len(clip.class_ids) :]
    bystander = others[0] if others else None
    is_drowned = clip.condition == "drowned"
    return sound.mix(labelled, bystander, is_drowned, world.settings, draws, num_samples)


def true_intervals(world: SyntheticDataset, clip: ClipDraw) -> list[tuple[float, float]]:
    """Return the sounding intervals of a clip's foreground sources of any class, in seconds."""
    sources = [source for source in _scene(world, clip) if source.is_labelled]
    return [(source.performance.start_s, source.performance.end_s) for source in sources]


def facts_of(
    world: SyntheticDataset, clip: ClipDraw, coverages: list[NDArray[np.float32]] | None = None
) -> Facts:
    """Return the ground truth of a clip; this is cheap, because it paints at most one frame.

    Args:
        world: The clip's synthetic dataset.
        clip: The clip.
        coverages: Coverages of the labelled objects in all frames, if available.
    """
    middle = round(clip.duration_s * FRAME_RATE_HZ) // 2
    if coverages is None and clip.visual_present:
        coverages = [c[0] for c in render_frames(world, clip, [middle])[1]]
    elif coverages is not None:
        coverages = [c[middle] for c in coverages]
    boxes = [image.box_of(c) for c in coverages or []] if clip.visual_present else []
    sounds = true_intervals(world, clip) if clip.audio_present else []
    return Facts(
        boxes=tuple(box for box in boxes if box is not None),
        sounds=tuple(sounds),
    )


def render_clip(world: SyntheticDataset, clip: ClipDraw) -> Rendered:
    """Render a clip in memory: the frames and samples that are encoded to its file."""
    frames, coverages = render_frames(world, clip)
    audio = render_audio(world, clip)
    return Rendered(frames=frames, audio=audio, facts=facts_of(world, clip, coverages))
