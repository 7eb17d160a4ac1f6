"""Versions of a model: what is kept, the way back, and changes that are stopped anywhere."""

import dataclasses
import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cign.errors import InputError
from cign.learner import Learner
from cign.saved_model.files import folder_in_use
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.versions import (
    changing,
    list_versions,
    prune,
    publish,
    save_or_publish,
    undo,
)
from cign.updating.edits import remove_class, rename_class
from cign.utils.files import folder_lock
from refusals import input_error
from toy_model import NAMES, same_answers, scores, toy_model


@pytest.fixture
def model():
    return toy_model()


@pytest.fixture
def place(model, tmp_path):
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def test_kept_clips_come_back_with_the_model(model, place):
    kept = load_model(place).kept
    assert torch.equal(kept.audio, model.kept.audio)
    assert torch.equal(kept.visual, model.kept.visual)
    assert kept.labels == model.kept.labels
    about = json.loads((place / "model.json").read_text())
    assert about["kept"]["bytes"] == kept.num_bytes == 12 * 2 * 16 * (3 + 4)
    assert "12 validation clips" in (place / "README.md").read_text()


def test_earlier_versions_are_deleted_and_the_current_one_stays(model, place):
    assert prune(place) == []
    publish(rename_class(model, "class 0", "zero"), place)
    publish(rename_class(load_model(place), "zero", "nought"), place)
    before = (place / "versions" / "3" / "model.safetensors").read_bytes()
    assert prune(place) == [1, 2]
    assert [path.name for path in (place / "versions").iterdir()] == ["3"]
    assert (place / "versions" / "3" / "model.safetensors").read_bytes() == before
    assert load_model(place).classes[0] == "nought"
    with input_error("unknown-name", "version before 3"):
        undo(place)
    assert publish(rename_class(load_model(place), "nought", "one"), place) == 4
    assert undo(place) == 3
    with input_error("bad-output", "is a version of model"):
        prune(place / "versions" / "3")
    with folder_lock(place, "model"), input_error("busy"):
        prune(place)


def test_a_model_without_kept_clips_or_versions_loads(model, place):
    """As it was written before there were any."""
    about = json.loads((place / "model.json").read_text())
    for key in ("kept", "changes"):
        del about[key]
    del about["checksums"]["kept.safetensors"]
    (place / "model.json").write_text(json.dumps(about))
    (place / "kept.safetensors").unlink()
    old = load_model(place)
    assert old.kept is None
    assert same_answers(scores(old), scores(model))
    assert publish(rename_class(old, "class 0", "zero"), place) == 2
    assert [one.text for one in list_versions(place)] == ["learned", "renamed class 0 to zero"]
    assert undo(place) == 1
    assert load_model(place).classes == model.classes


def test_versions_are_listed_and_undone_one_by_one(model, place):
    first = rename_class(load_model(place), "class 1", "one")
    assert publish(first, place) == 2
    second = remove_class(load_model(place), "class 4")
    assert publish(second, place) == 3
    listed = list_versions(place)
    assert [one.number for one in listed] == [1, 2, 3]
    assert [one.text for one in listed] == ["learned", "renamed class 1 to one", "removed class 4"]
    assert [one.num_classes for one in listed] == [6, 6, 5]
    assert [one.num_kept for one in listed] == [12, 12, 10]
    assert [one.is_current for one in listed] == [False, False, True]
    assert "- task 3: class 5" in (place / "versions/3/README.md").read_text()
    assert load_model(place / "versions" / "1").classes == model.classes  # a model itself
    # No file of the folder is stale, and nothing is stored twice.
    assert sorted(p.name for p in place.iterdir()) == ["CURRENT", "versions"]
    assert (place / "CURRENT").read_text() == "3\n"

    assert undo(place) == 2
    assert load_model(place).classes == first.classes
    assert same_answers(scores(load_model(place)), scores(first))
    assert undo(place) == 1
    assert same_answers(scores(load_model(place)), scores(model))
    with input_error("unknown-name", "version before 1"):
        undo(place)
    assert [one.number for one in list_versions(place)] == [1]
    assert sorted(p.name for p in (place / "versions").iterdir()) == ["1"]


def test_undoing_to_a_version_without_kept_clips_takes_them_away(model, place):
    save_model(dataclasses.replace(model, kept=None), place)
    assert not (place / "kept.safetensors").exists()
    publish(model, place)
    assert load_model(place).kept is not None
    undo(place)
    assert not (folder_in_use(place) / "kept.safetensors").exists()
    assert load_model(place).kept is None


def test_saving_over_a_model_keeps_it_as_a_version(model, place):
    save_or_publish(rename_class(model, "class 2", "two"), place)
    assert [one.number for one in list_versions(place)] == [1, 2]
    undo(place)
    assert load_model(place).classes == model.classes


@pytest.mark.parametrize("name", ["model.safetensors", "kept.safetensors"])
def test_a_changed_byte_is_refused_also_where_a_version_has_the_right_one(name, model, place):
    publish(rename_class(model, "class 0", "zero"), place)
    path = place / "versions" / "2" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with input_error("damaged", f"checksum of {name}"):
        load_model(place)
    with pytest.raises(InputError, match="was changed or damaged"):
        publish(model, place)
    path.unlink()
    with input_error("damaged", f"lacks {name}"):
        load_model(place)
    assert undo(place) == 1
    assert same_answers(scores(load_model(place)), scores(model))


def test_a_damaged_earlier_version_is_not_gone_back_to(model, place):
    publish(rename_class(model, "class 0", "zero"), place)
    old = place / "versions" / "1" / "model.safetensors"
    old.write_bytes(old.read_bytes()[:-1])
    with input_error("damaged", "model/versions/1", "model.safetensors"):
        undo(place)
    assert load_model(place).classes[0] == "zero"


def test_a_folder_in_use_is_refused(model, place):
    with folder_lock(place, "model"):
        for act in (lambda: undo(place), lambda: save_or_publish(model, place)):
            with input_error("busy"):
                act()
        with input_error("busy"), changing(place, None):
            pass
    with input_error("file-missing", "model"), changing(place / "none", None):
        pass
    assert not (place / "none").exists()


@pytest.mark.parametrize("first", [(), ("renamed",)])
@pytest.mark.parametrize("change", ["publish", "undo", "undo and publish"])
def test_a_model_read_while_it_is_changed_is_one_version(first, change, model, place, monkeypatch):
    """The description is read, then the version changes, then the weights are read."""
    from cign.saved_model import files as model_files

    real = model_files._intact
    before = rename_class(model, "class 0", "zero")
    if first or "undo" in change:
        publish(before, place)
    late = [remove_class(before, "class 1")]

    def read(*args):
        if late:
            after = late.pop()
            if "undo" in change:
                undo(place)
            if "publish" in change:
                publish(after, place)
        return real(*args)

    monkeypatch.setattr(model_files, "_intact", read)
    again = load_model(place)
    assert again.classes in (model.classes, before.classes, ("zero", *NAMES[2:]))
    assert again.method.num_classes == len(again.classes)


def test_the_files_of_a_version_do_not_change(model, place):
    """A change moves them and undo restores them, byte for byte."""

    def contents(folder):
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    original = contents(place)
    publish(rename_class(model, "class 0", "zero"), place)
    assert contents(place / "versions" / "1") == original
    second = contents(place / "versions" / "2")
    publish(remove_class(load_model(place), "class 1"), place)
    undo(place)
    assert contents(place / "versions" / "2") == contents(folder_in_use(place)) == second
    undo(place)
    assert contents(folder_in_use(place)) == original


def test_earlier_versions_may_be_deleted(model, place):
    for name in ("a", "b", "c"):
        publish(rename_class(model, "class 0", name), place)
    shutil.rmtree(place / "versions" / "1")
    (place / "versions" / "2" / "model.json").unlink()
    (place / "versions" / "notes").mkdir()
    (place / "README.md").write_text("of the owner")
    assert [one.number for one in list_versions(place)] == [3, 4]
    assert undo(place) == 3
    with input_error("unknown-name", "version before 3"):
        undo(place)
    assert publish(model, place) == 4
    assert (place / "versions" / "notes").is_dir()
    assert (place / "README.md").read_text() == "of the owner"


@pytest.mark.parametrize("text", ["", "0", "-1", "../2", "2x", "1" * 5000, "2\n\n", "\u0662"])
def test_a_damaged_current_file_is_refused(text, model, place):
    publish(rename_class(model, "class 0", "zero"), place)
    (place / "CURRENT").write_text(text, encoding="utf-8")
    for act in (load_model, list_versions, undo, lambda folder: publish(model, folder)):
        with input_error("damaged", "CURRENT"):
            act(place)
    (place / "CURRENT").write_text("7")
    with input_error("file-missing", "model"):
        load_model(place)
    (place / "CURRENT").write_text("2")
    assert load_model(place).classes[0] == "zero"


def test_a_version_itself_is_not_changed(model, place, tmp_path):
    publish(rename_class(model, "class 0", "zero"), place)
    first = place / "versions" / "1"
    learner = Learner.load(first)
    with input_error("bad-output", "model/versions/1"):
        learner.save(first)
    with input_error("bad-output", "model/versions/1"), changing(first, None):
        pass
    learner.save(tmp_path / "copy")
    assert sorted(p.name for p in first.iterdir()) == sorted(
        ["README.md", "kept.safetensors", "model.json", "model.safetensors"]
    )


def test_an_earlier_layout_is_refused_with_the_way_to_recreate_it(place):
    about = json.loads((place / "model.json").read_text())
    (place / "model.json").write_text(json.dumps({**about, "format": 2, "version": 1}))
    with input_error("wrong-version", "2", "cign_analytic"):
        load_model(place)


def test_a_learner_changes_and_saves(model, place):
    learner = Learner.load(place)
    learner.rename("class 0", "zero")
    learner.remove("class 5")
    learner.save(place)
    assert Learner.load(place).model.classes == ("zero", *NAMES[1:5])
    (one,) = [version for version in list_versions(place) if version.is_current]
    assert (one.number, one.num_classes) == (2, 5)
    assert one.text == "renamed class 0 to zero; removed class 5"


def test_a_change_that_another_made_since_is_not_lost(model, place, tmp_path):
    learner = Learner.load(place)
    learner.rename("class 0", "zero")
    other = Learner.load(place)
    other.remove("class 5")
    other.save(place)
    with input_error("model-changed"):
        learner.save(place)
    assert len(list_versions(place)) == 2
    learner.save(tmp_path / "elsewhere")
    learner.rename("class 1", "one")
    learner.save(tmp_path / "elsewhere")  # where it wrote last itself
    other.rename("class 1", "eins")
    other.save(place)
    texts = [one.text for one in list_versions(place)]
    assert texts == ["learned", "removed class 5", "renamed class 1 to eins"]


def test_a_version_tells_what_it_changed_though_the_one_before_went_another_way(model, place):
    publish(rename_class(model, "class 0", "zero"), place)
    publish(rename_class(model, "class 1", "one"), place)  # of the model as it was learned
    assert [one.text for one in list_versions(place)][1:] == [
        "renamed class 0 to zero",
        "renamed class 1 to one",
    ]


def test_a_run_and_a_page_of_somebody_are_not_written_over(model, tmp_path):
    run = tmp_path / "run"
    save_model(model, run / "model")
    (run / "metrics.json").write_text("{}")
    (tmp_path / "link").symlink_to(run / "model")
    learner = Learner.load(run)
    for where in (run, run / "model", tmp_path / "link"):
        with pytest.raises(InputError, match="belongs to a run"):
            learner.save(where)
    with pytest.raises(InputError, match="belongs to a run"), changing(tmp_path / "link", None):
        pass
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("mine")
    with input_error("bad-output", "README.md"):
        learner.save(tmp_path / "project")
    assert (tmp_path / "project" / "README.md").read_text() == "mine"


def test_a_disk_that_fills_up_while_flushing_cuts_no_file_that_was_whole(
    model, place, tmp_path, monkeypatch
):
    changed = rename_class(model, "class 0", "zero")
    flush, num_flushes, left = os.fsync, 0, [0]

    def cut(descriptor):
        left[0] -= 1
        if left[0] == 0 and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", cut)
    for number in range(1, 100):
        trial = tmp_path / f"trial {number}"
        shutil.copytree(place, trial)
        left[0] = number
        try:
            publish(changed, trial)
        except OSError:
            num_flushes += 1
        assert load_model(trial).classes in (model.classes, changed.classes)
        left[0] = 0
        if "zero" not in load_model(trial).classes:
            publish(changed, trial)
        assert load_model(trial).classes == changed.classes
        assert load_model(trial / "versions" / "1").classes == model.classes
        if number > num_flushes + 20:  # those of folders, which are not cut, lie in between
            break
    assert num_flushes >= 4  # weights, kept clips, card and description of the new version


def test_a_change_killed_anywhere_leaves_the_old_model_or_the_new(place, tmp_path):
    script = Path(__file__).parent / "stopped.py"
    paths = [str(Path(p).resolve()) for p in sys.path if p]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(place), str(work)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = {
        line.split()[0]: [int(n) for n in line.split()[1:]] for line in done.stdout.splitlines()
    }
    for num_stops, num_there in counts.values():
        assert num_stops > 20  # it was stopped before each of so many file operations
        assert 1 <= num_there < num_stops
    assert set(counts) == {"change", "undo"}
