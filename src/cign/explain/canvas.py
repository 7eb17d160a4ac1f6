"""A figure whose parts are placed in pixels from its upper left corner."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cign.explain.look import PANEL, RULE, SOFT
from cign.utils.files import replacing

WIDTH, HEIGHT, DPI = 1280, 760, 100
# Fonts of common systems with characters that matplotlib's own font lacks.
_MORE_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "WenQuanYi Zen Hei"),
    *("Droid Sans Fallback", "IPAGothic", "Hiragino Sans", "PingFang SC", "Yu Gothic"),
    *("Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS", "Noto Sans", "Unifont"),
)


# The caller reports missing characters once (`without_glyph`).
warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from")


@cache
def fonts() -> list[str]:
    """Names of the fonts for text, in order; a character missing in one is taken from the next."""
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _MORE_FONTS if name in installed)]


def without_glyph(words: Iterable[str]) -> str:
    """The characters that no installed font has, in ascending order."""
    known = [font_manager.get_font(font_manager.findfont(name)) for name in fonts()]
    needed = {character for some in words for character in some if character.isprintable()}
    return "".join(
        sorted(c for c in needed if not any(font.get_char_index(ord(c)) for font in known))
    )


class Canvas:
    """A white page of `WIDTH` x `HEIGHT` pixels."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white")
        self._agg = FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes in a rectangle of pixels."""
        bottom = HEIGHT - top - height
        place = (left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT)
        axes = self.figure.add_axes(place)
        axes.tick_params(colors=SOFT, labelsize=9, length=3)
        for spine in axes.spines.values():
            spine.set_color(RULE)
        return axes

    def text(self, left: float, middle: float, words: str, **look: object) -> float:
        """Write text verbatim; returns the x of its right end in pixels, including its box."""
        written = self.figure.text(
            left / WIDTH,
            1 - middle / HEIGHT,
            words,
            va="center",
            parse_math=False,
            family=fonts(),
            **look,  # type: ignore[arg-type]
        )
        self._agg.draw()  # type: ignore[no-untyped-call]
        box = written.get_bbox_patch()
        return float((written if box is None else box).get_window_extent().x1)

    def fitted(self, words: str, width: float, **look: object) -> str:
        """Shorten text in the middle so that it fits on one line.

        Args:
            words: Name of a file or a class; any characters.
            width: Available width in pixels.
            **look: As `text` takes it.
        """
        words = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
        if self.width(words, **look) <= width:
            return words
        low, high = 1, len(words)  # bounds of the number of characters that fit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.width(shortened(words, middle), **look) <= width
            low, high = (middle, high) if fits else (low, middle - 1)
        return shortened(words, low)

    def width(self, words: str, **look: object) -> float:
        """Width of text in pixels."""
        written = self.figure.text(0, 0, words, parse_math=False, family=fonts(), **look)  # type: ignore[arg-type]
        box = written.get_window_extent(self._agg.get_renderer())  # type: ignore[no-untyped-call]
        written.remove()
        return float(box.width)

    def to_array(self) -> NDArray[np.uint8]:
        """The page as uint8 RGB, [height, width, 3]."""
        self._agg.draw()  # type: ignore[no-untyped-call]
        return np.asarray(self._agg.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]

    def save(self, path: Path) -> None:
        """Write a PNG atomically."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", metadata={"Software": "cign"})
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getvalue())


def nothing(axes: Axes, words: str) -> None:
    """Draw a pale placeholder with a text."""
    axes.set_facecolor(PANEL)
    axes.text(0.5, 0.5, words, color=SOFT, fontsize=12, ha="center", va="center")
    axes.set_xticks([])
    axes.set_yticks([])


def shortened(words: str, most: int) -> str:
    """Text shortened in the middle to at most ``most`` characters."""
    if len(words) <= most:
        return words
    end = (most - 1) // 2
    return f"{words[: most - 1 - end].rstrip()}…{words[len(words) - end :].lstrip()}"
