"""Where and when, as HTML that reflows: the pictures of `cign.explain` one by one."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.image import imsave
from numpy.typing import NDArray

from cign.app.cards import colour
from cign.explain.pictures import smooth, tinted
from cign.explain.scene import ClassMap, Floats, Scene
from cign.report.html import breakable

_FINE = 256


def maps(scene: Scene) -> str:
    """Frames and spectrogram of a window, with what was found where and when."""
    parts = [_pictures(scene), _sounds(scene)]
    if scene.maps_of is not None:
        parts.append(
            f"<p class='soft'>Models of method {escape(scene.maps_of)} have no maps: where and "
            "when is not shown.</p>"
        )
    return f"<section class='cign cign-maps'>{''.join(parts)}</section>"


def _pictures(scene: Scene) -> str:
    if scene.frames is None:
        return "<h3>Where</h3><p class='soft'>The file has no video track.</p>"
    shown = [one for one in scene.classes if one.patches is not None]
    plain = shown[0].frame if shown else len(scene.frames) // 2
    length_s = scene.end_s - scene.start_s
    at_s = scene.start_s + (plain + 0.5) * length_s / len(scene.frames)
    figures = [_figure(scene.frames[plain] / 255.0, f"frame at {at_s:.2f} s", "the frame")]
    for one in shown:
        words = f"where {one.label} was found"
        figures.append(
            _figure(
                _found(scene, one), f"{one.label} {_told(one)}", words, colour(scene, one.label)
            )
        )
    title = "Where" if shown else "Frame"
    about = (
        "<p class='soft small'>Colours stay where the class was found. A map shows where a class "
        "would be, not how probable it is.</p>"
        if shown
        else ""
    )
    return f"<h3>{title}</h3>{about}<div class='frames'>{''.join(figures)}</div>"


def _told(one: ClassMap) -> str:
    """The number beside a class; of another reading where the audio-visual one is small."""
    return one.told.replace("visual ", "visual only ").replace("audio ", "audio only ")


def _found(scene: Scene, one: ClassMap) -> Floats:
    """A pale frame with its colours where the class is."""
    assert one.patches is not None
    assert scene.frames is not None
    return tinted(
        scene.frames[one.frame], smooth(one.patches, _FINE), to_rgb(scene.colour(one.label))
    )


def _figure(picture: NDArray[np.floating], title: str, words: str, ink: str | None = None) -> str:
    style = f" style='--c:{ink}'" if ink else ""
    return (
        f"<figure{style}><img alt='{escape(words, quote=True)}' src='{png(picture)}'>"
        f"<figcaption>{breakable(title)}</figcaption></figure>"
    )


def _sounds(scene: Scene) -> str:
    if scene.spectrogram is None:
        return "<h3>When</h3><p class='soft'>The file has no audio track.</p>"
    shown = [one for one in scene.classes if one.moments is not None]
    strips = "".join(
        f"<div class='strip' style='--c:{colour(scene, one.label)}'>"
        f"<span>{breakable(one.label)}</span><div style='background:{_gradient(one)}' role='img' "
        f"aria-label='when {escape(one.label, quote=True)} was found'></div></div>"
        for one in shown
    )
    about = (
        "<p class='soft small'>Spectrogram, and below it for each class the moments at which it "
        "was found.</p>"
        if shown
        else ""
    )
    return (
        f"<h3>{'When' if shown else 'Audio'}</h3>{about}<div class='sound'>"
        f"<span class='top soft'>{scene.top_hz / 1000:g} kHz</span>"
        f"<img alt='spectrogram' class='spectrogram' src='{png(_grey(scene.spectrogram))}'>"
        f"{strips}<div class='times soft'><span>{scene.start_s:.2f} s</span>"
        f"<span>{scene.end_s:.2f} s</span></div></div>"
    )


def _grey(values: Floats) -> Floats:
    """A spectrogram, low frequencies below, as `cign.explain.sound` shades it."""
    low, high = np.percentile(values, [30, 99.7])
    scaled = np.clip((values[::-1] - low) / max(high - low, 1.0), 0.0, 1.0)
    shades: Floats = colormaps["Greys"](scaled)[..., :3].astype(np.float32)
    return shades


def _gradient(one: ClassMap, steps: int = 60) -> str:
    """Moments as a CSS gradient from nothing to the colour of the class."""
    assert one.moments is not None
    at = np.linspace(0, len(one.moments) - 1, steps).round().astype(int)
    stops = ",".join(
        f"color-mix(in srgb,var(--c) {100 * float(value):.0f}%,transparent)"
        for value in one.moments[at]
    )
    return f"linear-gradient(90deg,{stops})"


def png(picture: NDArray[np.floating]) -> str:
    """A picture [rows, columns, 3] of 0..1 as a data address."""
    buffer = io.BytesIO()
    imsave(buffer, np.clip(picture, 0.0, 1.0), format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
