"""The spectrogram of a window, and a strip for the temporal map of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patheffects import withStroke

from cign.explain.canvas import HEIGHT, Canvas, fonts, nothing
from cign.explain.look import INK, PANEL, SOFT
from cign.explain.scene import ClassMap, Scene

_BOTTOM, _STRIP, _GAP = 54, 19, 5
_TICKS_HZ = np.array([200, 500, 1000, 2000, 4000, 8000, 16000])


def draw_sound(
    canvas: Canvas, scene: Scene, at_s: float | None, left: float, top: float, right: float
) -> None:
    """Draw from ``top`` (in pixels) to the lower margin."""
    if scene.spectrogram is None:
        nothing(canvas.axes(left, top, right - left, 110), "no audio track")
        return
    shown = [one for one in scene.classes if one.moments is not None]
    strips = len(shown) * (_STRIP + _GAP)
    height = HEIGHT - _BOTTOM - top - strips
    axes = canvas.axes(left, top, right - left, height)
    _spectrogram(axes, scene)
    every = [axes]
    for number, one in enumerate(shown):
        y = top + height + _GAP + number * (_STRIP + _GAP)
        strip = canvas.axes(left, y, right - left, _STRIP)
        label = canvas.fitted(one.label, 0.5 * (right - left), fontsize=9, fontweight="bold")
        _moments(strip, one, scene, label)
        every.append(strip)
    if shown:
        _band(axes, shown[0], scene)
    for part in every:
        part.set_xlim(scene.start_s, scene.end_s)
        if at_s is not None:
            part.axvline(at_s, color=INK, lw=1.6)
        if part is not every[-1]:
            part.tick_params(labelbottom=False, bottom=False)
    every[-1].set_xlabel("seconds", color=SOFT, fontsize=10, labelpad=2)


def _spectrogram(axes: Axes, scene: Scene) -> None:
    values = scene.spectrogram
    assert values is not None
    low, high = np.percentile(values, [30, 99.7])
    axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        vmin=low,
        vmax=max(high, low + 1.0),
        extent=(scene.start_s, scene.end_s, 0, len(values)),
        interpolation="bilinear",
    )
    hertz = _TICKS_HZ[0.95 * scene.top_hz > _TICKS_HZ]
    axes.set_yticks(_mel(hertz) / _mel(scene.top_hz) * len(values))
    axes.set_yticklabels([f"{x / 1000:g}" for x in hertz])
    axes.set_ylabel("kHz", color=SOFT, fontsize=10, labelpad=1)


def _mel(hertz: Any) -> Any:
    """Mel scale, as in `cign.backbones.preprocessing.mel.mel_filters`."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz, dtype=np.float64) / 700.0)


def _moments(axes: Axes, one: ClassMap, scene: Scene, label: str) -> None:
    """A temporal map as a strip from pale to the colour of the class, with its label."""
    colour = scene.colour(one.label)
    shades = LinearSegmentedColormap.from_list("class", [PANEL, colour])
    extent = (scene.start_s, scene.end_s, 0.0, 1.0)
    assert one.moments is not None
    axes.imshow(one.moments[None], aspect="auto", cmap=shades, vmin=0, vmax=1, extent=extent)
    axes.set_yticks([])
    axes.annotate(
        label,
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(5, 0),
        textcoords="offset pixels",
        color=colour,
        fontsize=9,
        fontweight="bold",
        family=fonts(),
        va="center_baseline",
        parse_math=False,
        path_effects=[withStroke(linewidth=3.2, foreground="white")],
    )


def _band(axes: Axes, one: ClassMap, scene: Scene) -> None:
    """The temporal map of the first class as a translucent overlay on the spectrogram."""
    assert one.moments is not None
    overlay = np.empty((1, len(one.moments), 4), dtype=np.float32)
    overlay[..., :3] = to_rgb(scene.colour(one.label))
    overlay[..., 3] = 0.42 * np.clip((one.moments - 0.3) / 0.7, 0.0, 1.0)
    low, high = axes.get_ylim()
    axes.imshow(
        overlay,
        aspect="auto",
        extent=(scene.start_s, scene.end_s, low, high),
        interpolation="bilinear",
    )
