"""Figure of a window: frames with spatial maps, spectrogram with temporal maps, probabilities."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from cign.explain.canvas import Canvas, fonts
from cign.explain.look import INK, PANEL, SOFT, WARN, WARN_BACK, colour_of
from cign.explain.pictures import draw_pictures
from cign.explain.scene import Scene
from cign.explain.sound import draw_sound

LEFT, RIGHT = 62, 880  # of frames and spectrogram
BARS_LEFT, BARS_WIDTH = 944, 292
TOP = 152
_MODALITY_NAMES = {"audio_visual": "audio-visual", "audio": "audio", "visual": "visual"}
_MODALITIES = {"audio": "audio", "visual": "video"}
_MOST_BARS, _BAR_STEP = 5, 29


def draw(scene: Scene, *, frame: int | None = None, at_s: float | None = None) -> Canvas:
    """Draw a window.

    Args:
        scene: Data to draw.
        frame: Index of the frame to show; None shows for each class the frame with its strongest
            patch.
        at_s: Time in the file, in seconds, to mark by a line; None draws no line.
    """
    canvas = Canvas()
    _header(canvas, scene)
    bottom = draw_pictures(canvas, scene, frame, LEFT, TOP, RIGHT)
    draw_sound(canvas, scene, at_s, LEFT, bottom + 34, RIGHT)
    _modalities(canvas, scene)
    return canvas


def _header(canvas: Canvas, scene: Scene) -> None:
    """File and window; then the predicted class and its probability."""
    one, first = scene.prediction, scene.classes[0]
    folder, name = PurePath(one.file).parent.name, PurePath(one.file).name
    width = BARS_LEFT + BARS_WIDTH - LEFT
    window = f"   {scene.start_s:.2f} to {scene.end_s:.2f} s"
    look: dict[str, Any] = {"fontsize": 11}
    room = width - canvas.width(window, **look)
    place = canvas.fitted(f"{folder}/{name}" if folder else name, room, **look)
    canvas.text(LEFT, 34, f"{place}{window}", color=SOFT, **look)
    back, ink = (WARN_BACK, WARN) if one.is_unknown else (colour_of(0), "white")
    edge = WARN if one.is_unknown else colour_of(0)
    box = {"boxstyle": "round,pad=0.3,rounding_size=0.5", "fc": back, "ec": edge, "lw": 1.3}
    look = {"fontsize": 17, "fontweight": "bold"}
    label = "unknown" if one.is_unknown else canvas.fitted(first.label, 0.6 * width, **look)
    end = canvas.text(LEFT + 9, 80, label, color=ink, bbox=box, **look) + 16
    lacking = " and ".join(f"no {_MODALITIES[name]}" for name in one.missing)
    text = f"{first.probability:.2f}" + (f"; {lacking}" if lacking else "")
    look = {"fontsize": 13}
    if one.is_unknown:
        before, text = "unlike all known classes; the nearest is ", f", {text}"
        room = LEFT + width - end - canvas.width(before + text, **look)
        text = before + canvas.fitted(first.label, room, **look) + text
    canvas.text(end, 80, text, color=INK, **look)


def _modalities(canvas: Canvas, scene: Scene) -> None:
    """Bars of the three modalities and the unknown score; each class has the same colour."""
    one, top = scene.prediction, 138
    most = min(max(len(entries) for entries in one.modalities.values()), _MOST_BARS)
    for name, title in _MODALITY_NAMES.items():
        canvas.text(BARS_LEFT, top, title, color=INK, fontsize=12, fontweight="bold")
        entries = one.modalities[name][:_MOST_BARS]
        if entries:
            _bars(canvas, entries, scene, top + 12, most)
        else:
            words = f"no {_MODALITIES[name]} track"
            canvas.text(BARS_LEFT, top + 26, words, color=SOFT, fontsize=11)
        top += 44 + most * _BAR_STEP
    _unknown(canvas, scene, max(top, 620))


def _bars(
    canvas: Canvas, entries: list[dict[str, Any]], scene: Scene, top: float, most: int
) -> None:
    axes = canvas.axes(BARS_LEFT, top, BARS_WIDTH, most * _BAR_STEP)
    for row, entry in enumerate(entries):
        y, value = row * _BAR_STEP, entry["probability"]
        axes.barh(y + 19, 1.0, height=6, color=PANEL, align="edge")
        axes.barh(y + 19, value, height=6, color=scene.colour(entry["label"]), align="edge")
        label = canvas.fitted(entry["label"], BARS_WIDTH - 44, fontsize=10)
        look: dict[str, Any] = {"color": INK, "fontsize": 10, "va": "center", "family": fonts()}
        axes.text(0, y + 10, label, parse_math=False, **look)
        axes.text(1, y + 10, f"{value:.2f}", color=SOFT, fontsize=10, va="center", ha="right")
    axes.set_xlim(0, 1)
    axes.set_ylim(most * _BAR_STEP, 0)
    axes.axis("off")


def _unknown(canvas: Canvas, scene: Scene, top: float) -> None:
    """The unknown score on a scale from 0 to 1, with the threshold."""
    one = scene.prediction
    value, threshold = one.unknown or 0.0, one.unknown_threshold
    canvas.text(BARS_LEFT, top, "unknown score", color=INK, fontsize=12, fontweight="bold")
    axes = canvas.axes(BARS_LEFT, top + 12, BARS_WIDTH, 60)
    axes.barh(12, 1.0, height=10, color=PANEL, align="edge")
    axes.barh(12, value, height=10, color=WARN if one.is_unknown else SOFT, align="edge")
    axes.text(1.0, -12, f"{value:.2f}", color=SOFT, fontsize=10, va="center", ha="right")
    if threshold is not None:
        axes.plot([threshold, threshold], [7, 27], color=INK, lw=1.8)
        side = "left" if threshold < 0.5 else "right"
        words = f"unknown above {threshold:.2f}"
        axes.text(threshold, 38, words, color=SOFT, fontsize=9.5, va="center", ha=side)
    axes.set_xlim(0, 1)
    axes.set_ylim(60, 0)
    axes.axis("off")
