"""Render the surroundings of the objects: backdrop, debris, camera motion and exposure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cign.synthetic.classes import OUTLINES, TEXTURES, Look, Settings
from cign.synthetic.draws import Draws
from cign.synthetic.image import Float32, draw_pose, follow, paint


def draw_debris(draws: Draws) -> Look:
    """Draw the look of a debris object: without class, plain, of any colour."""
    hue = draws.uniform()
    return Look(
        outline=draws.pick(OUTLINES),
        fold=draws.integer(3, 8),
        depth=draws.uniform(0.1, 0.6),
        lean=draws.uniform(-1.0, 1.0),
        aspect=draws.uniform(0.2, 1.0),
        hole=0.0,
        rim=0.0,
        texture=draws.pick(TEXTURES),
        frequency=draws.uniform(0.3, 1.5),
        texture_angle=draws.uniform(0.0, 3.14159),
        contrast=draws.uniform(0.1, 0.8),
        hues=(hue, hue + draws.uniform(-0.1, 0.1)),
        saturations=(draws.uniform(0.1, 1.0), draws.uniform(0.1, 1.0)),
        values=(draws.uniform(0.2, 0.9), draws.uniform(0.2, 0.9)),
        pulse=0.0,
        hop=0.0,
        turn=0.0,
    )


def render_backdrop(settings: Settings, draws: Draws, num_frames: int, size_px: int) -> Float32:
    """Render a backdrop with debris that the camera pans over, ``[T, S, S, 3]``."""
    margin = max(2, round(settings.pan * size_px))
    side = size_px + 2 * margin
    grid = np.linspace(0.0, 3.0, side)
    ramp = np.maximum(0.0, 1.0 - np.abs(grid[:, None] - np.arange(4.0))).astype(np.float32)
    tint = draws.array(3, low=0.15, high=0.85)
    corners = np.clip(tint + draws.array(4, 4, 3, low=-0.22, high=0.22), 0, 1).astype(np.float32)
    canvas = np.einsum("ya,xb,abc->yxc", ramp, ramp, corners, optimize=True).astype(np.float32)
    angle, k = draws.uniform(0.0, np.pi), draws.uniform(6.0, 60.0)
    axis = np.linspace(0.0, 1.0, side, dtype=np.float32)
    wave = np.sin(k * (np.cos(angle) * axis[:, None] + np.sin(angle) * axis[None, :]))
    canvas *= (1.0 + draws.uniform(0.0, 0.2) * wave[..., None]).astype(np.float32)
    frame = np.ascontiguousarray(canvas)[None]
    for _ in range(draws.integer(*settings.num_debris)):
        radius = draws.uniform(0.05, 0.2)
        pose = draw_pose(settings, draws, radius, draws.uniform(), draws.uniform())
        still = follow(look := draw_debris(draws), pose, None, np.zeros(1, np.float32))
        paint(frame, look, pose, still)
    # Linear camera motion between two random positions within the margin.
    ends = draws.array(2, 2, high=2.0 * margin)
    progress = np.linspace(0.0, 1.0, num_frames)[:, None]
    corner = np.floor(ends[0] * (1 - progress) + ends[1] * progress).astype(int)
    return np.stack([frame[0, y : y + size_px, x : x + size_px] for y, x in corner])


def expose(canvas: Float32, settings: Settings, draws: Draws) -> NDArray[np.uint8]:
    """Convert light to 8-bit levels with brightness, colour cast and grain.

    Args:
        canvas: ``[T, S, S, 3]``; it is overwritten.
        settings: The recording conditions.
        draws: The clip's stream.

    Returns:
        ``[T, S, S, 3]``, uint8.
    """
    gains = draws.uniform(*settings.light) * draws.array(3, low=0.93, high=1.07)
    size_px = canvas.shape[1]
    grain = draws.noise(size_px, size_px, 1) * np.float32(draws.uniform(0.0, 3.0))
    canvas *= (255.0 * gains).astype(np.float32)
    shifts = [draws.integer(0, size_px - 1) for _ in range(len(canvas))]
    for frame, shift in zip(canvas, shifts, strict=True):
        frame += np.roll(grain, shift, axis=0)
    np.rint(canvas, out=canvas)
    np.clip(canvas, 0.0, 255.0, out=canvas)
    return canvas.astype(np.uint8)
