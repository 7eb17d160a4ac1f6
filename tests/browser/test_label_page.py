"""Labelling in a real browser: label, learn, check, correct, join two classes, undo."""

import csv
import re
import shutil
from types import SimpleNamespace

import pytest

from browser.conftest import served
from browser.layout import require_sound
from browser.test_app_page import ask, only_from, tab

pytestmark = pytest.mark.browser
NUM_CLIPS = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model of four classes, their store, and unlabelled clips of these and of a fifth class."""
    from cign.backbones.registry import load_backbone
    from cign.data.prepare.pipeline import prepare
    from cign.learner import Learner
    from cign.synthetic import SynthConfig, synthesize

    root = tmp_path_factory.mktemp("labels")
    config = SynthConfig(num_classes=5, num_train=11, num_val=1, num_test=1, duration_s=1.0)
    synthesize(root / "clips", config, num_workers=1)
    with (root / "clips" / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = list(dict.fromkeys(row["labels"] for row in rows))
    known, new, seen = [], [], dict.fromkeys(classes, 0)
    for row in rows:
        is_train = row["split"] == "train"
        seen[row["labels"]] += is_train
        if row["labels"] == classes[-1] or (is_train and seen[row["labels"]] > 6):
            new += [row] if is_train else []
        else:
            known.append(row)
    with (root / "known.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "labels", "split"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(known)
    small = load_backbone("small")
    prepare(
        root / "known.csv", root / "store", backbone=small, media=[root / "clips"], num_workers=0
    )
    learner = Learner("cign_analytic", options={"width": 400})
    learner.learn(root / "store", tasks=1, out=root / "run")
    (root / "pool").mkdir()
    truth = {}
    for number, row in enumerate(new):
        name = f"{number:04d}.mp4"
        shutil.copy(root / "clips" / row["path"], root / "pool" / name)
        truth[name] = row["labels"]
    (root / "pool" / "damaged.mp4").write_bytes(b"no film" * 500)
    return SimpleNamespace(root=root, classes=classes, truth=truth)


@pytest.fixture(scope="module")
def labelling(world, tmp_path_factory):
    """A page on which the clips of the world are labelled."""
    tmp_path = tmp_path_factory.mktemp("labelling")
    options = ["--teach", "--out", str(tmp_path / "copy"), "--clips", str(world.root / "pool")]
    options += ["--learned", str(world.root / "store"), "--work", str(tmp_path / "work")]
    with served(world.root / "run", tmp_path / "temporary", options) as address:
        yield SimpleNamespace(address=address, model=tmp_path / "copy", work=tmp_path / "work")


def shown_clip(page, number):
    """The name of the clip that waits for a label."""
    page.wait_for_function(
        "n => document.querySelector('#label-clip .progress b')?.innerText.startsWith(n)",
        arg=f"{number} of ",
    )
    return page.inner_text("#label-clip .progress .name").strip()


def choose_class(page, field, button, name):
    box = page.locator(f"{field} input")
    box.fill(name)
    box.press("Enter")
    page.click(button)
    page.wait_for_function("() => !document.querySelector('ul[role=listbox]')")


def test_twenty_clips_are_labelled_checked_joined_and_undone(look, labelling, world):
    page, seen = look(labelling.address)
    tab(page, "Label")
    planted, done = None, {"accept": 0, "other": 0, "none": 0, "unsure": 0}
    for number in range(1, NUM_CLIPS + 1):
        name = shown_clip(page, number)
        right = world.truth[name]
        guess = re.sub(r" \(1\)$", "", page.inner_text("#label-first").strip())
        if number == 1:
            assert page.inner_text("#label-clip .progress b") == f"1 of {NUM_CLIPS}"
            require_sound(page)
            assert page.locator("#label-clip img").evaluate("one => one.naturalWidth") >= 64
            assert page.locator("#label-clip audio").get_attribute("src").startswith("data:audio")
        if (
            guess == right
            and done["accept"] >= 3
            and planted is None
            and right in world.classes[:4]
        ):
            planted = name
            wrong = world.classes[(world.classes.index(right) + 1) % 4]
            choose_class(page, "#label-class", "#label-use", wrong)
        elif not done["unsure"]:
            done["unsure"] = 1
            page.keyboard.press("u")
        elif not done["none"] and done["accept"]:
            done["none"] = 1
            page.click("#label-none")
        elif guess == right:
            done["accept"] += 1
            page.keyboard.press("1")
        else:
            done["other"] += 1
            choose_class(page, "#label-class", "#label-use", right)
    assert planted is not None
    assert min(done.values()) >= 1, done
    page.wait_for_function(
        "n => document.querySelector('#label-list').innerText.includes(n)",
        arg=f"{NUM_CLIPS - 1} labels not learned yet",
    )
    assert "left out, not decoded: 1 clip, for example damaged.mp4" in page.inner_text(
        "#label-clip"
    )
    page.click("#label-learn")
    page.wait_for_selector("#label-told .cign-taught")
    told = page.inner_text("#label-told")
    assert "none of the classes (1 clip learned)" in told
    assert "Saved as version 2" in told
    assert "before" in told

    tab(page, "Check")
    page.click("#check-start")
    page.wait_for_selector("#check-told .cign-taught")
    found = []
    while page.locator("#check-keep").is_visible():
        require_sound(page)
        name = page.inner_text("#check-clip .progress .name").strip()
        found.append(name)
        if name == planted:
            choose_class(page, "#check-class", "#check-use", world.truth[planted])
        else:
            page.click("#check-keep")
        page.wait_for_function(
            "n => document.querySelector('#check-clip .progress .name')?.innerText.trim() != n",
            arg=name,
        )
    assert planted in found
    page.wait_for_function(
        "() => document.querySelector('#check-list').innerText.includes('1 label not learned yet')"
    )
    page.click("#check-learn")
    page.wait_for_function(
        "() => document.querySelector('#check-told').innerText.includes('Saved as version 3')"
    )
    assert "Earlier labels replaced: 1" in page.inner_text("#check-told")

    tab(page, "Classes")
    page.get_by_text("Two classes that are the same thing").click()
    for field, name in (("#join-first", world.classes[0]), ("#join-second", world.classes[1])):
        page.click(f"{field} input")
        page.get_by_role("option", name=name, exact=True).last.click()
    page.click("#join-button")
    page.wait_for_selector("#join-told .cign-taught")
    assert "are one class" in page.inner_text("#join-told")
    page.wait_for_function("() => document.querySelector('#classes h2').innerText == '4 classes'")
    tab(page, "Label")
    page.click("#label-undo")
    page.wait_for_function(
        "() => document.querySelector('#label-told').innerText.includes('Version 3 is restored')"
    )
    assert seen.errors == []
    assert only_from(labelling.address, seen)
    require_learned(labelling, world, planted)


def require_learned(labelling, world, planted):
    """The model on the disk has learned the planted clip as what it is, and all classes."""
    from cign.app.label_learning import recorded_labels
    from cign.data.store import Store
    from cign.learner import Learner

    model = Learner.load(labelling.model).model
    assert set(model.classes) == set(world.classes)
    store = Store.open(labelling.work / "store")
    (row,) = (n for n, clip in enumerate(store.table.clips) if clip.id == planted)
    learned = recorded_labels(model)
    assert learned[store.content_hashes[row].tobytes().hex()] == (world.truth[planted],)


def test_on_a_phone_and_a_correction_of_a_prediction(look, labelling, world):
    page, seen = look(labelling.address, 390, 844)
    clip = next(name for name, label in world.truth.items() if label == world.classes[-1])
    ask(page, str(world.root / "pool" / clip))
    box = page.locator("#correct-class input")
    box.fill(world.classes[-1])
    box.press("Enter")
    page.click("#correct")
    page.wait_for_selector("#correct-told .cign-taught")
    require_sound(page)
    tab(page, "Label")
    shown_clip(page, 1)
    require_sound(page)
    assert f"{world.classes[-1]} (1)" in page.inner_text("#label-list").replace("\xa0", " ")
    page.click("#label-learn")
    page.wait_for_selector("#label-told .cign-taught")
    require_sound(page)
    for name in ("Check", "Classes"):
        tab(page, name)
        page.wait_for_timeout(300)
        require_sound(page)
    assert seen.errors == []
    assert only_from(labelling.address, seen)
