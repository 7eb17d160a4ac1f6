"""The strips of a timeline as HTML, and the window that a click asks for."""

import re
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from cign.app.timeline import Timeline, is_long, strips, window_at
from cign.data.media.decode import MediaSpec
from cign.inference.segment import Segment

MODEL = SimpleNamespace(media_spec=MediaSpec(window_s=3.0))


def segment(start_s, end_s, label, *, is_unknown=False):
    return Segment(
        file="film.mp4",
        start_s=start_s,
        end_s=end_s,
        label=label,
        probability=0.9,
        modalities={"audio": 0.9, "visual": None, "audio_visual": 0.9},
        unknown=0.2,
        is_unknown=is_unknown,
        num_windows=3,
    )


class Tags(HTMLParser):
    """The tags of a page, and whether each is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.buttons = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "button":
            self.buttons.append(dict(attributes))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_each_class_has_a_strip_and_unknown_is_the_last():
    found = (
        segment(0.0, 30.0, "dog", is_unknown=True),
        segment(30.0, 60.0, "<b> & 'cat'"),
        segment(60.0, 90.0, "dog"),
        segment(90.0, 3600.0, "<b> & 'cat'"),
    )
    text = strips(Timeline(segments=found, duration_s=3600.0, read_s=3600.0))
    tags = Tags(text)
    assert tags.open == []
    assert "<b>" not in text
    names = re.findall(r"<span class='name'>(.*?)</span>", text)
    assert [unescape(name) for name in names] == ["<b> & 'cat'", "dog", "unknown"]
    titles = [one["title"] for one in tags.buttons]
    assert titles[0] == "<b> & 'cat', 0:30 to 1:00, 0.90"
    assert titles[1] == "<b> & 'cat', 1:30 to 1:00:00, 0.90"
    assert titles[3] == "unknown, nearest dog, 0:00 to 0:30, 0.90"
    assert tags.buttons[0]["style"] == "left:0.833%;width:0.833%"
    assert tags.buttons[0]["data-at"] == "45.000"


def test_it_says_how_far_it_is_and_what_failed():
    part = Timeline(segments=(), duration_s=90.0, read_s=30.5)
    assert "Reading the whole file: 0:30.5 of 1:30." in strips(part)
    none = Timeline(segments=(), duration_s=90.0, read_s=90.0)
    assert "No class is probable enough" in strips(none)
    failed = Timeline(segments=(), duration_s=90.0, read_s=30.0, error="damaged: <x>")
    assert "Read to 0:30, then it failed: damaged: &lt;x&gt;." in strips(failed)


@pytest.mark.parametrize(
    ("at_s", "length_s", "expected"),
    [
        (5.0, 10.0, (3.5, 6.5)),
        (0.2, 10.0, (0.0, 3.0)),
        (9.9, 10.0, (7.0, 10.0)),
        (1.0, 2.0, (0.0, 2.0)),
    ],
)
def test_the_window_at_a_time_lies_within_the_file(tmp_path, at_s, length_s, expected):
    part = window_at(MODEL, tmp_path / "film.mp4", at_s, length_s)
    assert (part.start_s, part.end_s) == expected


def test_only_long_files_have_a_timeline():
    assert not is_long(MODEL, 3.1)
    assert is_long(MODEL, 3.8)
