"""The page of `cign audit` in a real browser: decisions become a table that `cign` reads."""

import csv
import io

import numpy as np
import pytest

from browser.layout import require_sound
from cign.data.clips import Clip
from cign.data.formats.table import read_table
from cign.data.media.decode import MediaSpec
from cign.labelling.audit_files import PAGE, write_audit
from cign.labelling.auditing import Audit, Doubt
from cign.updating.several_stores import LearnedMedia

pytestmark = pytest.mark.browser

CLASSES = ("playing acoustic guitar", "people_eating_crisps_with_their_fingers", "wolf", "dog")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def doubt(clip, kind, label, suggested, score):
    return Doubt(
        clip=clip,
        kind=kind,
        label=label,
        suggested=suggested,
        score=score,
        support=0.01,
        suggested_support=0.9 if suggested else None,
        is_suspicious=True,
    )


@pytest.fixture
def folder(tmp_path):
    """Four clips with five doubts: one label each, and two labels of which both are in doubt."""
    labels = [("wolf",), ("dog",), ("dog", "wolf"), ("playing acoustic guitar",)]
    for i in range(4):
        (tmp_path / f"clip, {i}.mp4").touch()
    clips = tuple(
        Clip(
            id=f"clip, {i}.mp4",
            path=tmp_path / f"clip, {i}.mp4",
            labels=names,
            split="train",
            start_s=1.5 if i == 1 else None,
            source=f"recording {i}",
        )
        for i, names in enumerate(labels)
    )
    doubts = (
        doubt(0, "replace", "wolf", CLASSES[1], 0.99),
        doubt(1, "replace", "dog", "wolf", 0.98),
        doubt(2, "remove", "dog", "", 0.97),
        doubt(2, "add", "", CLASSES[0], 0.96),
        doubt(3, "replace", CLASSES[0], "dog", 0.95),
    )
    rng = np.random.default_rng(0)
    media = LearnedMedia(
        spec=MediaSpec(rate_hz=16_000),
        frames=lambda i: rng.integers(0, 255, (len(i), 96, 96, 3)).astype(np.uint8),
        audio=lambda i: rng.integers(-9000, 9000, (len(i), 16_000)).astype(np.int16),
        has_audio=np.array([True, True, True, False]),
        has_visual=np.array([True, True, False, True]),
    )
    audit = Audit(clips=clips, doubts=doubts, not_judged=(), num_classes=4, left_out="sources")
    write_audit(audit, tmp_path / "audit", CLASSES, media)
    return tmp_path / "audit"


def table_of(page):
    return list(csv.DictReader(io.StringIO(page.locator("#table").input_value())))


@pytest.mark.parametrize("size", SIZES)
def test_the_page_is_readable_and_silent(look, folder, size):
    width, height = SIZES[size]
    page, seen = look((folder / PAGE).as_uri(), width=width, height=height)
    require_sound(page)
    page.locator("summary").click()
    require_sound(page)
    assert page.locator("ol.doubts li").count() == 5
    frames = page.locator("ol.doubts img")
    assert frames.count() == 3
    assert all(frames.nth(i).evaluate("one => one.naturalWidth") == 96 for i in range(3))
    assert page.locator("audio").count() == 4
    length = page.locator("audio").first.evaluate(
        "one => new Promise(done => { one.onloadedmetadata = () => done(one.duration);"
        " one.preload = 'metadata'; one.load() })"
    )
    assert length == pytest.approx(1.0, abs=0.01)
    assert seen.errors == []
    assert [one for one in seen.addresses if not one.startswith(("file:", "data:"))] == []


def test_decisions_are_downloaded_as_a_table_that_cign_reads(look, folder, tmp_path):
    page, seen = look((folder / PAGE).as_uri())
    items = page.locator("ol.doubts li")
    assert table_of(page) == []
    items.nth(0).locator("input[value=change]").check()
    items.nth(1).locator("input[value=keep]").check()
    items.nth(2).locator("input[value=change]").check()
    items.nth(3).locator("input[value=change]").check()
    items.nth(4).locator("select").select_option("wolf")
    assert items.nth(4).locator("input[value=other]").is_checked()
    assert page.locator("#num-decided").inner_text() == "5"
    assert page.locator("#num-corrected").inner_text() == "3"
    with page.expect_download() as download:
        page.get_by_role("button", name="Download corrections").click()
    place = tmp_path / "corrections.csv"
    download.value.save_as(place)
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == table_of(page)
    assert [(row["clip"], row["old_labels"], row["labels"]) for row in rows] == [
        ("clip, 0.mp4", "wolf", CLASSES[1]),
        ("clip, 2.mp4", "dog|wolf", f"wolf|{CLASSES[0]}"),
        ("clip, 3.mp4", CLASSES[0], "wolf"),
    ]
    found = {clip.id.rpartition("/")[2]: clip for clip in read_table(place).clips}
    assert found["clip, 0.mp4"].labels == CLASSES[1:2]
    assert set(found["clip, 2.mp4"].labels) == {"wolf", CLASSES[0]}
    assert {clip.split for clip in found.values()} == {"train"}
    assert {clip.source for clip in found.values()} == {f"recording {i}" for i in (0, 2, 3)}
    assert seen.errors == []


def test_the_page_is_used_by_keyboard(look, folder):
    page, _ = look((folder / PAGE).as_uri())
    page.locator("header a").focus()
    focused = []
    while "INPUT" not in focused:
        page.keyboard.press("Tab")
        focused.append(page.evaluate("document.activeElement.tagName"))
    assert set(focused) == {"AUDIO", "INPUT"}
    page.keyboard.press("Space")
    assert page.locator("#num-decided").inner_text() == "1"
    page.keyboard.press("ArrowDown")
    assert [row["labels"] for row in table_of(page)] == [CLASSES[1]]
    style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"
