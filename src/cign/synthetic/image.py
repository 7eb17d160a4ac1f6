"""Render objects: outlines in polar coordinates, textures, light, and motion with the notes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.synthetic.classes import Look, Settings
from cign.synthetic.draws import Draws
from cign.synthetic.sound import Performance

Float32 = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]  # also for float32 results that mypy cannot infer
Box = tuple[float, float, float, float]

# Coverage that changes a pixel by one level.
_VISIBLE = 1 / 255


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Position and appearance of an object. Lengths as shares of the frame's side.

    Attributes:
        x: Distance of the centre from the left, at rest.
        y: Distance of the centre from the top, at rest.
        radius: Maximum radius of the circle around the object.
        angle: Rotation in radians.
        squash: Foreshortening of one axis, 1 = none.
        squash_angle: Direction of that axis in radians.
        mirror: Whether the object is mirrored, as if viewed from behind.
        hue_shift: Hue shift of both colours, in turns.
        value: Factor on the brightness.
        light_angle: Direction of the light source, in radians.
        drift: Slow motion over the clip, (x, y).
    """

    x: float
    y: float
    radius: float
    angle: float
    squash: float
    squash_angle: float
    mirror: bool
    hue_shift: float
    value: float
    light_angle: float
    drift: tuple[float, float] = (0.0, 0.0)


def draw_pose(settings: Settings, draws: Draws, radius: float, x: float, y: float) -> Pose:
    """Draw the pose of an object with a given position and size."""
    return Pose(
        x=x,
        y=y,
        radius=radius,
        angle=draws.uniform(-np.pi, np.pi),
        squash=draws.uniform(0.75, 1.0),
        squash_angle=draws.uniform(0.0, np.pi),
        mirror=draws.chance(0.5),
        hue_shift=draws.uniform(-settings.hue_jitter, settings.hue_jitter),
        value=draws.uniform(0.7, 1.1),
        light_angle=draws.uniform(-np.pi, np.pi),
    )


def hsv_to_rgb(hue: float, saturation: float, value: float) -> Float32:
    """Convert one colour to RGB; the hue is in turns and may be any real number."""
    sector = (hue % 1.0) * 6.0 + np.array([5.0, 3.0, 1.0])
    ramp = np.clip(np.minimum(sector % 6.0, 4.0 - sector % 6.0), 0.0, 1.0)
    colour: Float32 = (value * (1.0 - saturation * ramp)).astype(np.float32)
    return colour


def _outline(look: Look, phi: Floats) -> Floats:
    """Return the radius of the outline in direction phi, at most 1."""
    angle = look.fold * phi
    if look.outline == "petals":
        wave: Floats = np.abs(np.cos(angle / 2))
    elif look.outline == "star":
        wave = np.abs(np.mod(angle / math.pi, 2.0) - 1.0)
    elif look.outline == "gear":
        wave = 0.5 + 0.5 * np.tanh(4.0 * np.cos(angle))
    elif look.outline == "bean":
        wave = np.clip(
            0.5 + 0.5 * np.cos(2 * phi) * np.cos(phi + look.lean) + 0.2 * np.cos(3 * phi), 0.0, 1.0
        )
    elif look.outline == "cross":
        wave = np.maximum(np.abs(np.cos(phi * 2 if look.fold > 5 else phi * 1.5)), 0.2) ** 3
    else:
        side = math.pi / max(look.fold - 1, 3)
        flat: Floats = math.cos(side) / np.cos(np.mod(phi, 2 * side) - side)
        return flat
    edge: Floats = 1.0 - look.depth * (1.0 - wave)
    return edge


def _texture(look: Look, u: Floats, v: Floats, r: Floats, phi: Floats) -> Floats:
    """Return the share of the second colour at every point, in [0, 1], with soft edges."""
    cos, sin = math.cos(look.texture_angle), math.sin(look.texture_angle)
    along = cos * u + sin * v
    across = cos * v - sin * u
    k = 2 * math.pi * look.frequency
    if look.texture == "stripes":
        wave: Floats = np.sin(k * along)
    elif look.texture == "rings":
        wave = np.sin(k * r)
    elif look.texture == "checks":
        wave = np.sin(k * along) * np.sin(k * across) * 1.6
    elif look.texture == "dots":
        wave = np.cos(k * along) + np.cos(k * across) - 0.7
    elif look.texture == "spokes":
        wave = np.sin(look.fold * phi)
    elif look.texture == "waves":
        wave = np.sin(k * along + 1.5 * np.sin(k * across))
    else:
        wave = along * 3.0
    soft: Floats = 0.5 + 0.5 * np.tanh(look.contrast * wave)
    return soft


@dataclass(frozen=True)
class Path:
    """An object's motion, one value per frame; lengths as shares of the frame's side."""

    x: Float32
    y: Float32
    radius: Float32
    angle: Float32


def follow(look: Look, pose: Pose, performance: Performance | None, times_s: Float32) -> Path:
    """Move an object with its notes: each note makes it swell, hop and turn, then return to rest.

    Args:
        look: Visual parameters of the class.
        pose: The object's pose.
        performance: The notes; None for a silent object.
        times_s: Times of the frames in seconds, ``[T]``.

    Returns:
        The motion; the object never leaves the circle of radius `reach` around its position.
    """
    beat = np.zeros(len(times_s), np.float32)
    side = np.ones(len(times_s), np.float32)
    if performance is not None:
        note = np.searchsorted(performance.onsets_s, times_s, side="right") - 1
        since = times_s - performance.onsets_s[np.maximum(note, 0)]
        playing = (note >= 0) & (times_s < performance.end_s)
        rise = np.minimum((since + 0.02) / 0.04, 1.0)
        fall = np.exp(-np.maximum(since - 0.02, 0.0) / 0.15)
        beat = np.where(playing, rise * fall * performance.accents[note], 0.0).astype(np.float32)
        beat = np.clip(beat, 0.0, 1.0)
        side = np.where(note % 2 == 0, 1.0, -1.0).astype(np.float32)
    progress = times_s / max(float(times_s[-1]), 1e-6) - 0.5
    hop = look.hop * pose.radius * beat
    return Path(
        x=(pose.x + pose.drift[0] * progress).astype(np.float32),
        y=(pose.y + pose.drift[1] * progress - hop).astype(np.float32),
        radius=(pose.radius * (1.0 - look.pulse * (1.0 - beat))).astype(np.float32),
        angle=(pose.angle + look.turn * side * beat).astype(np.float32),
    )


def reach(look: Look, radius: float) -> float:
    """Return the maximum extent of an object from its position, as a share of the side."""
    return radius * (1.0 + look.hop)


def paint(canvas: Float32, look: Look, pose: Pose, path: Path) -> Float32:
    """Paint an object over frames, in place.

    Args:
        canvas: ``[T, S, S, 3]``, in [0, 1] (and above, before exposure).
        look: Visual parameters of the class.
        pose: The object's pose.
        path: Its motion over the T frames.

    Returns:
        Its coverage ``[T, S, S]``, in [0, 1].
    """
    assert canvas.flags.c_contiguous, "painting in place needs a contiguous canvas"
    num_frames, size_px = canvas.shape[:2]
    half = int(np.ceil(float(path.radius.max()) * size_px)) + 1
    offsets = np.arange(2 * half + 1)
    columns = np.floor(path.x * size_px).astype(int)[:, None] - half + offsets
    rows = np.floor(path.y * size_px).astype(int)[:, None] - half + offsets
    # Coordinates relative to the object's centre, in units of its radius: [T, p] each.
    size, radius = np.float32(size_px), path.radius[:, None]
    px = ((columns + np.float32(0.5)).astype(np.float32) / size - path.x[:, None]) / radius
    py = ((rows + np.float32(0.5)).astype(np.float32) / size - path.y[:, None]) / radius
    in_frame = ((columns >= 0) & (columns < size_px))[:, None, :]
    in_frame = in_frame & ((rows >= 0) & (rows < size_px))[:, :, None]
    inside = ((px * px)[:, None, :] + (py * py)[:, :, None] < 1.0) & in_frame
    t, row, column = np.nonzero(inside)  # only these n points are evaluated
    alpha, rgb = _shade(look, pose, path, t, px[t, column], py[t, row], size_px)
    flat = (t * size_px + rows[t, row]) * size_px + columns[t, column]
    coverage = np.zeros(num_frames * size_px * size_px, np.float32)
    coverage[flat] = alpha
    pixels = canvas.reshape(-1, 3)
    under = pixels[flat]
    pixels[flat] = under + alpha[:, None] * (rgb - under)
    return coverage.reshape(num_frames, size_px, size_px)


def _shade(
    look: Look,
    pose: Pose,
    path: Path,
    t: NDArray[np.intp],
    px: Float32,
    py: Float32,
    size_px: int,
) -> tuple[Float32, Float32]:
    """Compute coverage ``[n]`` and colour ``[n, 3]`` of points in frames ``t``."""
    # Apply the foreshortening first, so that its axis is fixed while the object rotates.
    cos, sin = math.cos(pose.squash_angle), math.sin(pose.squash_angle)
    sx = (cos * px + sin * py) / pose.squash
    sy = cos * py - sin * px
    cos_t, sin_t = np.cos(path.angle)[t], np.sin(path.angle)[t]
    u = cos_t * sx + sin_t * sy
    v = (cos_t * sy - sin_t * sx) / look.aspect
    if pose.mirror:
        u = -u
    r = np.sqrt(u * u + v * v) + np.float32(1e-6)
    phi: Floats = np.arctan2(v, u)
    edge = _outline(look, phi)
    pixels = (path.radius * np.float32(size_px * min(1.0, look.aspect + 0.2)))[t]
    alpha = np.clip((edge - r) * pixels + 0.5, 0.0, 1.0)
    # Limit every outline to the radius.
    rest = (1.0 - np.sqrt(px * px + py * py)) * (path.radius * np.float32(size_px))[t]
    alpha *= np.clip(rest, 0.0, 1.0)
    if look.hole:
        alpha *= np.clip((r - look.hole * edge) * pixels + 0.5, 0.0, 1.0)
    share = _texture(look, u, v, r, phi)
    if look.rim:
        share = np.maximum(share, np.clip((r - edge * (1 - look.rim)) * pixels + 0.5, 0.0, 1.0))
    first, second = (
        hsv_to_rgb(hue + pose.hue_shift, saturation, value * pose.value)
        for hue, saturation, value in zip(look.hues, look.saturations, look.values, strict=True)
    )
    light = 1.0 + 0.3 * (px * math.cos(pose.light_angle) + py * math.sin(pose.light_angle))
    rgb = (share[:, None] * (second - first) + first) * light[:, None]
    return alpha.astype(np.float32), rgb.astype(np.float32)


def box_of(coverage: Float32) -> Box | None:
    """Return the box (x0, y0, x1, y1 in [0, 1]) of a coverage ``[S, S]``; None if it is empty."""
    rows = np.flatnonzero(coverage.max(axis=1) > _VISIBLE)
    columns = np.flatnonzero(coverage.max(axis=0) > _VISIBLE)
    if not len(rows) or not len(columns):
        return None
    size_px = coverage.shape[0]
    return (
        float(columns[0]) / size_px,
        float(rows[0]) / size_px,
        float(columns[-1] + 1) / size_px,
        float(rows[-1] + 1) / size_px,
    )
