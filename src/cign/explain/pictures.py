"""The frames of a window: one plain, and one for each class with its spatial map."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cign.explain.canvas import Canvas, fonts, nothing
from cign.explain.look import SOFT
from cign.explain.scene import ClassMap, Floats, Scene

_GAP, _LARGEST = 12, 320
_FINE = 192
_TITLE = 11
_LOOK: dict[str, Any] = {"fontsize": _TITLE, "fontweight": "bold"}
_BOLD: dict[str, Any] = _LOOK | {"parse_math": False, "family": fonts()}


def draw_pictures(
    canvas: Canvas, scene: Scene, frame: int | None, left: float, top: float, right: float
) -> float:
    """Draw the row of frames; returns the y of its bottom in pixels.

    Args:
        canvas: Canvas to draw on.
        scene: Data to draw.
        frame: As `cign.explain.drawing.draw` takes it.
        left: Left end of the row in pixels.
        top: Top of the frames in pixels; their titles are above it.
        right: Right end of the row in pixels.
    """
    shown = [one for one in scene.classes if one.patches is not None]
    num = 1 + len(shown)
    size = min((right - left - (num - 1) * _GAP) / num, _LARGEST)
    if scene.frames is None:
        nothing(canvas.axes(left, top, right - left, 110), "no video track")
        return top + 110
    plain = shown[0].frame if shown and frame is None else (frame or 0)
    axes = canvas.axes(left, top, size, size)
    _image(axes, scene.frames[plain])
    title = canvas.fitted(_title_of_frame(scene, plain), size, fontsize=_TITLE)
    axes.set_title(title, color=SOFT, fontsize=_TITLE, loc="left")
    for number, one in enumerate(shown, start=1):
        axes = canvas.axes(left + number * (size + _GAP), top, size, size)
        _patches(axes, scene.frames[one.frame if frame is None else frame], one, scene, frame)
        axes.set_title(
            _title_of_class(canvas, one, size),
            color=scene.colour(one.label),
            loc="left",
            **_BOLD,
        )
    if scene.maps_of is not None:
        words = f"Method {scene.maps_of} does not support\nlocalization maps."
        canvas.text(left + size + 24, top + size / 2, words, color=SOFT, fontsize=12)
    return top + size


def _title_of_frame(scene: Scene, number: int) -> str:
    assert scene.frames is not None
    num = len(scene.frames)
    at_s = scene.start_s + (number + 0.5) * (scene.end_s - scene.start_s) / num
    return f"frame at {at_s:.2f} s" + (f", {number + 1} of {num}" if num > 1 else "")


def _title_of_class(canvas: Canvas, one: ClassMap, width: float) -> str:
    """The class and its probability, for a frame of some width; a long name is shortened."""
    number = f" {one.told}"
    room = width - canvas.width(number, **_LOOK)
    return canvas.fitted(one.label, room, **_LOOK) + number


def _image(axes: Axes, image: NDArray[np.uint8] | Floats) -> None:
    axes.imshow(image, extent=(0, 1, 1, 0), interpolation="bicubic")
    axes.set_xticks([])
    axes.set_yticks([])


def _patches(
    axes: Axes, image: NDArray[np.uint8], one: ClassMap, scene: Scene, frame: int | None
) -> None:
    """A pale frame that keeps its colours where the class is, with a box at the strongest patch."""
    assert one.patches is not None
    colour = scene.colour(one.label)
    patches = one.patches if frame is None else one.patches_of(frame)
    heat = smooth(patches, _FINE)
    _image(axes, tinted(image, heat, to_rgb(colour)))
    lines = (np.arange(_FINE) + 0.5) / _FINE
    if heat.max() > 0.5 > heat.min():
        axes.contour(lines, lines, heat, levels=[0.5], colors=[colour], linewidths=1.8)
    if frame is None or frame == one.frame:
        x, y, width, height = one.box or (0.0, 0.0, 1.0, 1.0)
        for thickness, edge in ((3.6, "white"), (2.0, colour)):
            axes.add_patch(
                Rectangle((x, y), width, height, fill=False, ec=edge, lw=thickness, zorder=4)
            )


def tinted(
    picture: NDArray[np.uint8], heat: Floats, colour: tuple[float, float, float]
) -> NDArray[np.float32]:
    """An image that keeps its colours where heat is high and is pale where heat is low.

    Args:
        picture: Image, uint8, [S, S, 3].
        heat: Values in 0..1, [P, P].
        colour: RGB of the glow around regions of high heat.

    Returns:
        Image [P, P, 3] with values in 0..1.
    """
    bright = torch.from_numpy(picture.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
    size = heat.shape[0]
    big = F.interpolate(bright, size=(size, size), mode="bilinear", align_corners=False)
    true: NDArray[np.float32] = big[0].permute(1, 2, 0).numpy()
    pale = 0.42 * true.mean(axis=2, keepdims=True) + 0.52
    share = np.clip(1.7 * heat, 0.0, 1.0)[..., None]
    mixed = share * true + (1.0 - share) * pale
    # Strongest at the edge of the coloured region, so that the region itself keeps its colours.
    glow = 0.9 * (share * (1.0 - share))
    return np.clip((1 - glow) * mixed + glow * np.asarray(colour), 0.0, 1.0).astype(np.float32)


def smooth(values: Floats, size: int) -> Floats:
    """Patches [rows, columns] upsampled to [size, size], bicubic, clipped to 0..1."""
    patches = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
    big = F.interpolate(patches, size=(size, size), mode="bicubic", align_corners=False)
    heat: Floats = big[0, 0].clamp(0.0, 1.0).numpy()
    return heat
