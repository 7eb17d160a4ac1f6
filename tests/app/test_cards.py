"""What the page says: numbers, plain words, and names that are no tags."""

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

from cign.app import cards
from cign.app.classes import learned_classes
from cign.app.maps import maps
from cign.app.service import Answer
from cign.data.media.decode import Decoded
from cign.explain.scene import make_scene
from cign.inference.localization import Maps
from cign.inference.prediction import Prediction
from cign.saved_model.versions import Version
from cign.serving.model_service import Taught
from cign.updating.impact import Addition, Alike, Cost
from toy_model import toy_model

CLASSES = ("bell", "<b>drum", "horn")
VOID = {"img", "br", "wbr"}


class Tree(HTMLParser):
    """Texts and tags; fails where tags are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts += [data] if data.strip() else []

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def an_answer(*, audio=True, visual=True, is_unknown=False, has_maps=True, threshold=0.7):
    told = [
        {"label": name, "probability": p} for name, p in zip(CLASSES, (0.7, 0.2, 0.1), strict=True)
    ]
    said = Prediction(
        file="clip.mp4",
        start_s=2.0,
        end_s=3.0,
        label="bell",
        unknown=0.8 if is_unknown else 0.3,
        unknown_threshold=threshold,
        is_unknown=is_unknown,
        modalities={
            "audio": told if audio else [],
            "visual": told if visual else [],
            "audio_visual": told,
        },
        missing=[name for name, there in (("audio", audio), ("visual", visual)) if not there],
    )
    rng = np.random.default_rng(0)
    clip = Decoded(
        frames=rng.integers(0, 255, (1, 32, 32, 3), dtype=np.uint8),
        audio=rng.integers(-9000, 9000, 8000, dtype=np.int16),
        has_audio=audio,
        has_visual=visual,
        silent=False,
        still=None,
        start_s=2.0,
        end_s=3.0,
        duration_s=9.0,
    )
    found = Maps(visual=rng.random((1, 4, 4, 3), np.float32), audio=rng.random((4, 3), np.float32))
    scene = make_scene(
        said, clip, found if has_maps else None, CLASSES, rate_hz=8000, method="joint"
    )
    return Answer(prediction=said, scene=scene, duration_s=9.0, notes=("odd <i>",), seconds=0.44)


def test_an_answer_tells_readings_threshold_and_window():
    tree = Tree(cards.answer(an_answer()))
    assert tree.texts[:2] == ["bell", "0.70"]
    for words in ("Audio-visual", "Audio only", "Visual only", "<b>drum", "odd <i>"):
        assert words in tree.texts
    assert "Unknown score 0.30" in tree.text
    assert "; unknown above 0.70." in tree.text
    assert "2.00 to 3.00 s of 9.00 s" in tree.text
    assert "b" not in [tag for tag, _ in tree.tags]


def test_an_unknown_clip_names_the_nearest_class():
    text = Tree(cards.answer(an_answer(is_unknown=True))).text
    assert text.startswith("unknown unlike all known classes; the nearest is bell , 0.70")


def test_what_a_clip_lacks_is_said():
    assert "no audio track" in Tree(cards.answer(an_answer(audio=False))).text
    assert "no video track" in Tree(cards.answer(an_answer(visual=False))).text
    assert "has no threshold" in Tree(cards.answer(an_answer(threshold=None))).text


def test_maps_show_the_frame_and_each_class_where_and_when():
    tree = Tree(maps(an_answer().scene))
    pictures = [a for tag, a in tree.tags if tag == "img"]
    assert len(pictures) == 1 + 3 + 1
    assert all(one["src"].startswith("data:image/png;base64,") for one in pictures)
    strips = [a for _, a in tree.tags if a.get("aria-label", "").startswith("when ")]
    assert [one["aria-label"] for one in strips] == [f"when {n} was found" for n in CLASSES]
    assert "<b>drum 0.20" in tree.texts


@pytest.mark.parametrize(
    ("lack", "said"),
    [
        ({"audio": False}, "no audio track"),
        ({"visual": False}, "no video track"),
        ({"has_maps": False}, "Method joint does not support localization maps"),
    ],
)
def test_maps_of_less_say_so(lack, said):
    assert said in Tree(maps(an_answer(**lack).scene)).text


def addition(**changes):
    one = Addition(
        new={"<b>drum": 8},
        known={},
        notes=("left out, not decoded: 1 clip",),
        cost=Cost(num_clips=20, before=95.0, after=90.0, to_new=5.0, to_old=0.0),
        num_new_kept=2,
        new_accuracy=50.0,
        num_kept=22,
        kept_bytes=1,
        state_bytes=1,
        seconds=1.25,
    )
    return Taught(addition=dataclasses.replace(one, **changes), version=3)


def test_what_a_new_class_costs_is_told_before_and_after():
    text = Tree(cards.taught(addition(), "<b>drum")).text
    for words in (
        "<b>drum (8 clips learned)",
        "accuracy on validation clips (20 clips) 95.0 % 90.0 %",
        "5.0 % to the new",
        "2 clips set aside for validation: 50.0 % correct",
        "left out",
        "version 3",
    ):
        assert words in text
    alike = Alike(new="<b>drum", old="<i>bell", percent=87.5, num_clips=8)
    text = Tree(cards.taught(addition(alike=(alike,)), "<b>drum")).text
    assert "<b>drum looks like <i>bell: before, 87.5 % of its 8 clips" in text
    text = Tree(cards.taught(addition(cost=None, new_accuracy=None), "x")).text
    assert "not known" in text
    assert "one clip in five" in text


def test_classes_tell_when_each_was_learned():
    model = toy_model()
    model.groups = (*model.groups[:-1], ("class 4",), ("class 5",))
    model.changes = (
        {"date": "2026-01-02T03:04:05+00:00", "text": "added class 4"},
        {"date": "2026-01-03T03:04:05+00:00", "text": "renamed x to class 0"},
        {"date": "2026-01-04T03:04:05+00:00", "text": "3 more clips of class 1"},
        {"date": "2026-01-05T03:04:05+00:00", "text": "added class 5"},
    )
    learned = learned_classes(model)
    assert [one.date and one.date[:10] for one in learned] == [
        *[None] * 4,
        "2026-01-02",
        "2026-01-05",
    ]
    assert [one.task for one in learned] == [1, 1, 2, 2, 3, 4]
    assert {one.num_kept for one in learned} == {2}
    versions = [
        Version(number=n, date="", text=f"step {n}", num_classes=4, num_kept=0, is_current=n == 2)
        for n in (1, 2)
    ]
    text = Tree(cards.classes(model, versions)).text
    assert "class 5 taught 2026-01-05 03:04 UTC 2" in text
    assert "class 0 training, task 1 2" in text
    assert "2 (now) step 2" in text
    assert cards.undo_label(versions) == "Undo: step 2"
    assert cards.undo_label(versions[:1]) is None


def test_classes_added_and_removed_again_date_no_other():
    model = toy_model()
    date, number = "2026-01-0{}T03:04:05+00:00", len(model.groups)
    model.changes = (
        {"date": date.format(2), "text": "added A", "task": str(number + 1)},
        {"date": date.format(3), "text": "added B", "task": str(number + 2)},
        {"date": date.format(4), "text": "removed A"},
        {"date": date.format(5), "text": "removed B"},
    )
    assert {one.date for one in learned_classes(model)} == {None}
    model.groups = (*model.groups, ("C",))
    model.changes += ({"date": date.format(6), "text": "added C", "task": str(len(model.groups))},)
    assert [one.date for one in learned_classes(model) if one.date] == [date.format(6)]


def test_an_error_is_a_sentence_and_no_tag():
    tree = Tree(cards.problem("file <script> cannot be read"))
    assert "File <script> cannot be read." in tree.text
    assert "script" not in [tag for tag, _ in tree.tags]
