"""No text of a figure covers another or leaves the page, however long names are."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from cign.explain.canvas import HEIGHT, WIDTH, Canvas, shortened
from cign.explain.drawing import draw
from cign.explain.scene import make_scene
from cign.inference.localization import Maps

from .test_explain import RATE_HZ, clip, prediction

pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from font")

LONG = (
    "playing acoustic guitar and singing along in a very large and empty hall",
    "playing_steelpan_and_singing_along_in_a_very_large_and_empty_hall",
    "アコースティックギターを弾きながら大きなホールで歌う人々の様子",
)
FILE = "a folder with a long name that goes on and on/" + "a clip with a long name " * 8 + ".mp4"


def boxes(canvas):
    """Where each text stands, in pixels from the lower left corner: words -> x0, y0, x1, y1."""
    renderer = FigureCanvasAgg(canvas.figure).get_renderer()
    canvas.figure.draw(renderer)
    return [
        (text.get_text(), text.get_window_extent(renderer).extents)
        for text in canvas.figure.findobj(Text)
        if text.get_text().strip() and text.get_visible()
    ]


def overlapping(found):
    """Pairs of words whose boxes share more than a pixel in both directions."""
    return [
        (first, second)
        for (first, a), (second, b) in combinations(found, 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
    ]


def long_scene(*, is_unknown=False, missing=(), num_frames=1, names=LONG, start_s=2.0):
    one = prediction(is_unknown=is_unknown, missing=missing)

    def renamed(entries):
        return [{**e, "label": name} for e, name in zip(entries, names, strict=False)]

    # By their values, whatever the fields of a prediction are called.
    changes = {"file": FILE, "label": names[0]}
    for field in dataclasses.fields(one):
        value = getattr(one, field.name)
        if isinstance(value, dict):
            changes[field.name] = {name: renamed(entries) for name, entries in value.items()}
    one = dataclasses.replace(one, **changes)
    window = clip(
        audio="audio" not in missing, visual="visual" not in missing, num_frames=num_frames
    )
    window = dataclasses.replace(window, start_s=start_s, end_s=start_s + 1)
    rng = np.random.default_rng(0)
    maps = Maps(
        visual=rng.random((num_frames, 4, 4, 3), np.float32), audio=rng.random((4, 3), np.float32)
    )
    return make_scene(one, window, maps, names, rate_hz=RATE_HZ, method="cign_analytic")


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"is_unknown": True},
        {"num_frames": 16, "start_s": 12345.0},
        {"missing": ("audio",)},
        {"missing": ("visual",), "is_unknown": True},
        {"names": ("a", "b", "c")},
    ],
    ids=["long", "unknown", "many frames", "no audio", "no video", "short"],
)
def test_no_text_covers_another_or_leaves_the_page(case):
    found = boxes(draw(long_scene(**case)))
    assert len(found) > 15
    assert overlapping(found) == []
    for words, (x0, y0, x1, y1) in found:
        assert x0 >= 0, words
        assert y0 >= 0, words
        assert x1 <= WIDTH, words
        assert y1 <= HEIGHT, words


def test_the_check_of_this_file_finds_texts_that_overlap():
    canvas = Canvas()
    canvas.text(10, 100, "one above another")
    canvas.text(40, 104, "another below one")
    assert overlapping(boxes(canvas)) == [("one above another", "another below one")]


def test_a_name_that_fits_is_written_in_full():
    words = [text for text, _ in boxes(draw(long_scene(names=("bell", "a longer name", "c"))))]
    assert "a longer name" in words
    assert "bell 0.70" in words
    assert not any("…" in one for one in words if "clip with" not in one)


def test_words_are_cut_in_their_middle_to_the_width_there_is():
    canvas = Canvas()
    cut = canvas.fitted(LONG[0], 200, fontsize=11)
    assert canvas.width(cut, fontsize=11) <= 200 < canvas.width(LONG[0], fontsize=11)
    begin, end = cut.split("…")
    assert LONG[0].startswith(begin)
    assert LONG[0].endswith(end)
    assert len(cut) > 15
    assert canvas.fitted("a\nb\udcff", 200, fontsize=11) == "a\N{REPLACEMENT CHARACTER}b" + (
        "\N{REPLACEMENT CHARACTER}"
    )
    assert [shortened("abcdef", n) for n in (6, 5, 4, 3, 2, 1)] == [
        *("abcdef", "ab…ef", "ab…f", "a…f", "a…", "…")
    ]
