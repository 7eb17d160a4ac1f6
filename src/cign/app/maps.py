"""Localization maps as HTML that reflows: the figures of `cign.explain`, one element each."""

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
    """Frames and spectrogram of a window, with the localization maps of its classes."""
    parts = [_frames(scene), _audio(scene)]
    if scene.maps_of is not None:
        parts.append(
            f"<p class='soft'>Method {escape(scene.maps_of)} does not support localization maps."
            "</p>"
        )
    return f"<section class='cign cign-maps'>{''.join(parts)}</section>"


def _frames(scene: Scene) -> str:
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
                _found(scene, one), f"{one.label} {_number(one)}", words, colour(scene, one.label)
            )
        )
    title = "Where" if shown else "Frame"
    about = (
        "<p class='soft small'>The frame keeps its colours where the class was found. A map shows "
        "the most likely place of a class, not its probability.</p>"
        if shown
        else ""
    )
    return f"<h3>{title}</h3>{about}<div class='frames'>{''.join(figures)}</div>"


def _number(one: ClassMap) -> str:
    """The probability beside a class; of another modality where the audio-visual one is small."""
    return one.told.replace("visual ", "visual only ").replace("audio ", "audio only ")


def _found(scene: Scene, one: ClassMap) -> Floats:
    """A pale frame that keeps its colours where the class is."""
    assert one.patches is not None
    assert scene.frames is not None
    return tinted(
        scene.frames[one.frame], smooth(one.patches, _FINE), to_rgb(scene.colour(one.label))
    )


def _figure(image: NDArray[np.floating], title: str, words: str, ink: str | None = None) -> str:
    style = f" style='--c:{ink}'" if ink else ""
    return (
        f"<figure{style}><img alt='{escape(words, quote=True)}' src='{png(image)}'>"
        f"<figcaption>{breakable(title)}</figcaption></figure>"
    )


def _audio(scene: Scene) -> str:
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
        "<p class='soft small'>Spectrogram; the strips below it show when each class was found.</p>"
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
    """A spectrogram, low frequencies at the bottom, shaded as in `cign.explain.sound`."""
    low, high = np.percentile(values, [30, 99.7])
    scaled = np.clip((values[::-1] - low) / max(high - low, 1.0), 0.0, 1.0)
    shades: Floats = colormaps["Greys"](scaled)[..., :3].astype(np.float32)
    return shades


def _gradient(one: ClassMap, steps: int = 60) -> str:
    """Temporal map as a CSS gradient from transparent to the colour of the class."""
    assert one.moments is not None
    at = np.linspace(0, len(one.moments) - 1, steps).round().astype(int)
    stops = ",".join(
        f"color-mix(in srgb,var(--c) {100 * float(value):.0f}%,transparent)"
        for value in one.moments[at]
    )
    return f"linear-gradient(90deg,{stops})"


def png(image: NDArray[np.floating]) -> str:
    """An image [rows, columns, 3] with values in 0..1 as a data URL."""
    buffer = io.BytesIO()
    imsave(buffer, np.clip(image, 0.0, 1.0), format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
