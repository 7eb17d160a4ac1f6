"""Versions of a model: what is kept, the way back, and changes that are stopped anywhere."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.data.media import MediaSpec
from cign.editing import add_clips, check_name, remove_class, rename_class
from cign.errors import InputError, RunError
from cign.files import folder_lock
from cign.kept import KeptClips, choose_kept, joined
from cign.learner import Learner
from cign.methods.cign_analytic import CignAnalytic
from cign.model_folder import Model, load_model, save_model
from cign.models.token_ridge import TokenStatistics
from cign.scoring import score_clips
from cign.versions import changing, list_versions, publish, save_or_publish, undo
from toy import toy_loop, toy_tokens

NAMES = [f"class {c}" for c in range(6)]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_kept(num=12):
    labels, audio, visual = toy_tokens(per_class=2, seed=0)
    rows = np.arange(num)
    return KeptClips(
        audio=torch.from_numpy(audio[rows]),
        visual=torch.from_numpy(visual[rows]),
        labels=tuple((NAMES[c],) for c in labels[rows]),
    )


@pytest.fixture
def model():
    loop = toy_loop("cign_analytic", options={"width": 20}, num_tasks=3)
    loop.run()
    return Model(
        method=loop.method.eval(),
        groups=loop.clips.tasks.groups,
        regime="frozen",
        backbone="small",
        fingerprint="",
        spec=MediaSpec(),
        unknown_threshold=0.5,
        kept=toy_kept(),
    )


@pytest.fixture
def place(model, tmp_path):
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def scores(model):
    _, audio, visual = toy_tokens(per_class=3, seed=0)
    with torch.no_grad():
        return model.method.predict(torch.from_numpy(audio), torch.from_numpy(visual))


def same_answers(first, second):
    return all(torch.equal(a, b) for a, b in zip(*map(dict.values, (first, second)), strict=True))


def test_kept_clips_come_back_with_the_model(model, place):
    kept = load_model(place).kept
    assert torch.equal(kept.audio, model.kept.audio)
    assert torch.equal(kept.visual, model.kept.visual)
    assert kept.labels == model.kept.labels
    about = json.loads((place / "model.json").read_text())
    assert about["kept"]["bytes"] == kept.num_bytes == 12 * 2 * 16 * (3 + 4)
    assert "12 validation clips" in (place / "README.md").read_text()


def test_a_model_without_kept_clips_or_versions_loads(model, place):
    """As it was written before there were any."""
    about = json.loads((place / "model.json").read_text())
    for key in ("version", "kept", "changes"):
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
    assert "- task 3: class 5" in (place / "README.md").read_text()
    # An earlier version is a model itself, and takes no more of the disk than a link.
    assert load_model(place / "versions" / "1").classes == model.classes
    own = place / "versions" / "3" / "model.safetensors"
    assert own.samefile(place / "model.safetensors")

    assert undo(place) == 2
    assert load_model(place).classes == first.classes
    assert same_answers(scores(load_model(place)), scores(first))
    assert undo(place) == 1
    assert same_answers(scores(load_model(place)), scores(model))
    with pytest.raises(InputError, match="has no version before 1"):
        undo(place)
    assert [one.number for one in list_versions(place)] == [1]
    assert sorted(p.name for p in (place / "versions").iterdir()) == ["1"]


def test_undoing_to_a_version_without_kept_clips_takes_them_away(model, place):
    save_model(dataclasses.replace(model, kept=None), place)
    assert not (place / "kept.safetensors").exists()
    publish(model, place)
    assert load_model(place).kept is not None
    undo(place)
    assert not (place / "kept.safetensors").exists()
    assert load_model(place).kept is None


def test_saving_over_a_model_keeps_it_as_a_version(model, place):
    save_or_publish(rename_class(model, "class 2", "two"), place)
    assert [one.number for one in list_versions(place)] == [1, 2]
    undo(place)
    assert load_model(place).classes == model.classes


def test_a_removed_class_leaves_the_others_as_they_were(model):
    without = remove_class(model, "class 2")
    assert without.groups == (("class 0", "class 1"), ("class 3",), ("class 4", "class 5"))
    assert without.method.class_counts == [2, 1, 2]
    assert {name for names in without.kept.labels for name in names} == set(without.classes)
    rest = [0, 1, 3, 4, 5]
    for modality in ("audio", "visual"):
        weights = model.method.get_buffer(f"{modality}_weights")
        assert torch.equal(without.method.get_buffer(f"{modality}_weights"), weights[:, rest])
        old, new = model.method.statistics[modality], without.method.statistics[modality]
        assert isinstance(new, TokenStatistics)
        assert torch.equal(old.gram, new.gram)  # all of it stays
        assert torch.equal(old.cross[:, rest], new.cross)
    assert torch.equal(without.method.class_clips, model.method.class_clips[rest])
    assert model.method.num_classes == 6
    assert scores(without)["audio"].shape[1] == 5


def test_a_task_all_of_whose_classes_are_gone_keeps_its_place(model, tmp_path):
    less = remove_class(remove_class(model, "class 2"), "class 3")
    assert less.groups == (("class 0", "class 1"), (), ("class 4", "class 5"))
    save_model(less, tmp_path / "less")
    again = load_model(tmp_path / "less")
    assert again.groups == less.groups
    assert same_answers(scores(again), scores(less))


def test_classes_that_cannot_be_renamed_or_removed(model):
    with pytest.raises(InputError, match=r"class 'class 1' exists already"):
        rename_class(model, "class 0", "class 1")
    with pytest.raises(InputError, match=r"unknown class 'odd': use one of class 0, class 1"):
        rename_class(model, "odd", "even")
    with pytest.raises(InputError, match=r"unknown class 'odd'"):
        remove_class(model, "odd")
    for name in NAMES[1:]:
        model = remove_class(model, name)
    with pytest.raises(InputError, match=r"'class 0' is the last one"):
        remove_class(model, "class 0")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a/b", "holds a slash"),
        ("a\\b", "holds a slash"),
        ("a\nb", "a line break"),
        ("a|b", "holds a slash, '|'"),
        ("x" * 300, "has 300 characters"),
        ("", "is empty"),
        (" a", "blanks at an end"),
        ("..", "a dot"),
    ],
)
def test_names_that_are_refused(name, problem, model):
    with pytest.raises(InputError, match=problem) as error:
        rename_class(model, "class 0", name)
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)
    assert check_name("Bjørk's  «水» (2)") == "Bjørk's  «水» (2)"


@pytest.mark.parametrize("name", ["model.safetensors", "kept.safetensors"])
def test_a_changed_byte_is_refused_also_where_a_version_has_the_right_one(name, model, place):
    publish(rename_class(model, "class 0", "zero"), place)
    copy = shutil.copytree(place, place.parent / "copy")
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(InputError, match=f"was changed or damaged: the checksum of {name}"):
        load_model(copy)
    with pytest.raises(InputError, match="was changed or damaged"):
        publish(model, copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"lacks {name}: restore the folder"):
        load_model(copy)


def test_a_damaged_earlier_version_is_not_gone_back_to(model, place):
    publish(rename_class(model, "class 0", "zero"), place)
    old = place / "versions" / "1" / "model.safetensors"
    old.write_bytes(old.read_bytes()[:-1])
    with pytest.raises(InputError, match="was changed or damaged"):
        undo(place)
    assert load_model(place).classes[0] == "zero"


def test_a_folder_in_use_is_refused(model, place):
    with folder_lock(place, "model"):
        for act in (lambda: undo(place), lambda: save_or_publish(model, place)):
            with pytest.raises(InputError, match="is in use by another process"):
                act()
        with pytest.raises(InputError, match="in use"), changing(place, None):
            pass
    with pytest.raises(InputError, match="model not found"), changing(place / "none", None):
        pass
    assert not (place / "none").exists()


def test_a_model_read_while_it_is_changed_is_one_version(model, place, monkeypatch):
    """The description is read, then the version changes, then the weights are read."""
    from cign import model_files

    real = model_files._intact
    late = [rename_class(model, "class 0", "zero")]

    def read(*args):
        if late:
            publish(remove_class(late.pop(), "class 1"), place)
        return real(*args)

    monkeypatch.setattr(model_files, "_intact", read)
    again = load_model(place)
    assert again.classes in (model.classes, ("zero", *NAMES[2:]))
    assert again.method.num_classes == len(again.classes)


def test_singular_sums_leave_the_model_as_it_was(model, monkeypatch):
    monkeypatch.setattr(CignAnalytic, "ridge_of", lambda *_: 0.0)
    before = {name: value.clone() for name, value in model.method.state_dict().items()}
    model.method.statistics["visual"].gram.zero_()
    before["statistics.visual.gram"] = model.method.statistics["visual"].gram.clone()
    with pytest.raises(RunError, match="is singular"):
        add_clips(model, FakeClips())
    after = model.method.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.classes == tuple(NAMES)


class FakeClips:
    """Three clips of a new class, without a store."""

    notes, order, ids, list_hash = (), ("new",), list("abc"), "0"
    labels = [("new",)] * 3
    learned, validation, kept = np.arange(3), np.zeros(0, int), np.zeros(0, int)
    store = None

    class tokens:  # noqa: N801
        audio = staticmethod(lambda i: toy_tokens()[1][i])
        visual = staticmethod(lambda i: toy_tokens()[2][i])


def test_kept_clips_are_the_first_five_of_each_class():
    labels = [("a",)] * 7 + [("b",)] * 2 + [("a", "b")]
    found = choose_kept(labels, np.arange(10), {})
    assert found.tolist() == [0, 1, 2, 3, 4, 7, 8, 9]
    assert choose_kept(labels, np.arange(10), {"a": 3, "b": 5}).tolist() == [0, 1]
    kept = toy_kept()
    both = joined(kept, kept)
    assert both.num_clips == 24
    assert joined(None, kept) is kept
    assert joined(None, None) is None
    assert kept.without(NAMES[0]).num_clips == 10
    assert dict(both.renamed(NAMES[0], "zero").counts())["zero"] == 4
    assert len(kept.fingerprints()) == 12
    assert score_clips_of(kept).shape == (12, 6)


def score_clips_of(kept):
    loop = toy_loop("analytic", options={"width": 20}, num_tasks=1)
    loop.run()
    return score_clips(loop.method, kept.source, np.arange(kept.num_clips))["audio"]


def test_a_learner_changes_and_saves(model, place):
    learner = Learner.load(place)
    learner.rename("class 0", "zero")
    learner.remove("class 5")
    learner.save(place)
    assert Learner.load(place).model.classes == ("zero", *NAMES[1:5])
    (one,) = [version for version in list_versions(place) if version.is_current]
    assert (one.number, one.num_classes) == (2, 5)
    assert one.text == "renamed class 0 to zero; removed class 5"


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
