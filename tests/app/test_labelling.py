"""Labelling behind the page: what is proposed, saved, learned, corrected, and what is refused."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cign.app.label_checking import Checking
from cign.app.label_learning import check_labelling, recorded_labels
from cign.app.label_opening import opened_labelling
from cign.app.label_pool import ClipPool
from cign.app.label_session import LabelSession
from cign.app.service import Service
from cign.backbones.registry import load_backbone
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.learner import Learner
from cign.saved_model.versions import list_versions
from cign.vocabulary import UNIMODAL
from refusals import input_error
from toy_model import toy_model

OPTIONS = {"width": 60, "pooling": ["mean"], "precision": "float64"}


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory):
    """A model of three classes with four clips each, and a folder of other clips, unlabelled."""
    root = tmp_path_factory.mktemp("labelling")
    with (tiny[0] / "clips.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "val")]
    classes = list(dict.fromkeys(row["labels"] for row in rows))
    known, truth, seen = [], {}, dict.fromkeys(classes, 0)
    (root / "pool" / "deep").mkdir(parents=True)
    for row in rows:
        is_train, name = row["split"] == "train", row["labels"]
        seen[name] += is_train
        if name != classes[-1] and (not is_train or seen[name] <= 4):
            known.append({key: row[key] for key in ("path", "labels", "split")})
        elif is_train:
            place = f"deep/{len(truth)}.mp4"
            shutil.copy(tiny[0] / row["path"], root / "pool" / place)
            truth[place] = name
    with (root / "known.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "labels", "split"])
        writer.writeheader()
        writer.writerows(known)
    (root / "pool" / "damaged.mp4").write_bytes(b"no film" * 100)
    backbone = load_backbone("small")
    how = {"backbone": backbone, "media": [tiny[0]], "num_workers": 0}
    prepare(root / "known.csv", root / "store", **how)
    learner = Learner("cign_analytic", options=OPTIONS)
    learner.learn(root / "store", out=root / "run", progress=False)
    return SimpleNamespace(root=root, classes=classes, truth=truth, known=known, tiny=tiny[0])


@pytest.fixture
def model(world, tmp_path):
    return shutil.copytree(world.root / "run" / "model", tmp_path / "model")


@pytest.fixture
def labelling(world, model, tmp_path):
    """A labelling of the unlabelled clips; the model's own clips are known, too."""
    how = {"clips": world.root / "pool", "learned": world.root / "store", "work": tmp_path / "work"}
    with opened_labelling(Service(model, teach=True), tell=lambda _: None, **how) as found:
        yield found


def keys_by_name(labelling):
    pool = labelling.pool
    return {
        pool.clip(key).id.removeprefix("pool/"): key
        for key in map(pool.key, range(pool.num_to_label))
    }


def label_all(labelling, world, wrong=None):
    """Label all clips as what they are; some, given by name, as something else."""
    keys = keys_by_name(labelling)
    for name, key in keys.items():
        labelling.label(key, (wrong or {}).get(name, world.truth[name]))
    return keys


def assert_same_model(found, wanted):
    assert found.classes == wanted.classes
    assert torch.equal(found.method.class_clips, wanted.method.class_clips)
    for modality in UNIMODAL:
        mine, theirs = found.method.of(modality), wanted.method.of(modality)
        torch.testing.assert_close(mine.weights, theirs.weights, rtol=1e-5, atol=1e-6)


def by_hand(world, model, tmp_path, labels):
    """The model that learns the same clips from a table with `Learner.add`."""
    with (tmp_path / "by_hand.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "labels", "split"))
        writer.writerows((f"{name}", label, "train") for name, label in labels.items())
    learner = Learner.load(model)
    how = {"media": [world.root / "pool"], "num_workers": 0, "keep": False, "progress": False}
    learner.add(tmp_path / "by_hand.csv", **how)
    return learner.model


def test_what_is_labelled_is_learned_as_from_a_table(labelling, world, model, tmp_path):
    wanted = by_hand(world, model, tmp_path, world.truth)
    label_all(labelling, world)
    told = labelling.learn()
    assert told.version == 2
    assert told.addition.num_replaced == 0
    assert sum(told.addition.new.values()) + sum(told.addition.known.values()) == len(world.truth)
    found = Learner.load(model).model
    order = [found.classes.index(name) for name in wanted.classes]
    assert torch.equal(found.method.class_clips[order], wanted.method.class_clips)
    assert_same_model(found, wanted)
    assert not labelling.pending()


def test_a_corrected_label_leaves_the_model_of_the_right_one(labelling, world, model, tmp_path):
    wanted = by_hand(world, model, tmp_path, world.truth)
    name = next(name for name, label in world.truth.items() if label == world.classes[0])
    keys = label_all(labelling, world, {name: world.classes[1]})
    labelling.learn()
    labelling.label(keys[name], world.classes[0])
    assert list(labelling.pending()) == [keys[name]]
    told = labelling.learn()
    assert told.addition.num_replaced == 1
    assert_same_model(Learner.load(model).model, wanted)


def test_background_is_learned_and_taken_back(labelling, world, model, tmp_path):
    keys = keys_by_name(labelling)
    name, key = next(iter(keys.items()))
    labelling.label_background(key)
    told = labelling.learn()
    assert (told.addition.background, told.addition.new) == (1, {})
    assert Learner.load(model).model.method.num_background == 1
    labelling.label(key, world.truth[name])
    labelling.learn()
    found = Learner.load(model).model
    assert found.method.num_background == 0
    versions = list_versions(model)
    assert len(versions) == 3
    wanted = by_hand(world, world.root / "run", tmp_path, {name: world.truth[name]})
    assert torch.equal(found.method.class_clips, wanted.method.class_clips)
    for modality in UNIMODAL:
        pair = [one.method.of(modality).fitted_gram.tril() for one in (found, wanted)]
        torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-9)


def test_undo_makes_labels_wait_again(labelling, world, model):
    keys = label_all(labelling, world)
    labelling.learn()
    assert labelling.service.undo(2) == 1
    assert set(labelling.pending()) == set(keys.values())
    assert labelling.learn().version == 2


def test_decided_clips_are_not_proposed_again(labelling, world):
    labelling.propose(4)
    first = list(labelling.session.round)
    assert len(first) == 4
    labelling.skip(first[0])
    labelling.label(first[1], world.classes[0])
    shown = labelling.current()
    assert (shown.key, shown.number, shown.total) == (first[2], 3, 4)
    labelling.back()
    assert labelling.current().key == first[1]
    labelling.label(first[1], world.classes[0])
    labelling.propose(100)
    proposed = set(labelling.session.round)
    assert proposed.isdisjoint(first[:2])
    assert len(proposed) == len(world.truth) - 2
    assert not proposed & set(recorded_labels(labelling.service.model))
    for key in proposed:
        labelling.skip(key)
    with input_error("no-clips", "all clips are labelled"):
        labelling.propose()


def test_a_copy_of_a_learned_clip_is_not_proposed(world, model, tmp_path):
    (tmp_path / "clips").mkdir()
    shutil.copy(world.tiny / world.known[0]["path"], tmp_path / "clips" / "copy.mp4")
    shutil.copy(world.root / "pool" / next(iter(world.truth)), tmp_path / "clips" / "new.mp4")
    how = {"clips": tmp_path / "clips", "work": tmp_path / "work", "tell": lambda _: None}
    with opened_labelling(Service(model, teach=True), **how) as found:
        found.propose()
        assert [found.pool.clip(key).id for key in found.session.round] == ["new.mp4"]


KILLED = """
import os, signal, sys
from pathlib import Path
from cign.app.label_opening import opened_labelling
from cign.app.service import Service
model, clips, work, name = sys.argv[1:]
service = Service(Path(model), teach=True)
with opened_labelling(service, clips=Path(clips), work=Path(work)) as found:
    found.propose(4)
    keys = list(found.session.round)
    found.label(keys[0], name)
    found.skip(keys[1])
    found.label_background(keys[2])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_server_loses_no_label(world, model, tmp_path):
    arguments = [model, world.root / "pool", tmp_path / "work", world.classes[0]]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    how = {"clips": world.root / "pool", "work": tmp_path / "work", "tell": lambda _: None}
    with opened_labelling(Service(model, teach=True), **how) as found:
        keys = list(found.session.round)
        assert found.session.labels == {keys[0]: (world.classes[0],), keys[2]: ()}
        assert found.session.unsure == [keys[1]]
        assert (found.current().key, found.current().number) == (keys[3], 4)
        assert found.learn().version == 2


def test_files_that_are_gone_are_learned_from_the_store(world, model, tmp_path):
    pool = shutil.copytree(world.root / "pool", tmp_path / "pool")
    how = {"clips": pool, "work": tmp_path / "work", "tell": lambda _: None}
    with opened_labelling(Service(model, teach=True), **how) as found:
        found.propose(3)
        shutil.rmtree(pool)
        for key in found.session.round:
            assert found.pool.frame(key).startswith("data:image/jpeg;base64,")
            assert found.pool.sound(key).startswith("data:audio/wav;base64,")
            found.label(key, world.classes[0])
        assert found.learn().addition.known == {world.classes[0]: 3}


def test_files_that_cannot_be_decoded_are_named(labelling, world, model, tmp_path):
    (note,) = labelling.notes
    assert note.startswith("left out, not decoded: 1 clip, for example damaged.mp4")
    (tmp_path / "bad").mkdir()
    shutil.copy(world.root / "pool" / "damaged.mp4", tmp_path / "bad")
    service = Service(model, teach=True)
    with (
        input_error("no-clips"),
        opened_labelling(service, clips=tmp_path / "bad", work=tmp_path / "other"),
    ):
        pass


def test_names_that_are_refused(labelling, world):
    key = next(iter(keys_by_name(labelling).values()))
    known = world.classes[0]
    with input_error("name-taken", known.upper(), known):
        labelling.label(key, known.upper())
    labelling.label(key, "Grey Parrot")
    with input_error("name-taken", "'Grey Parrot'"):
        labelling.label(key, "grey_parrot")
    for name in ("none", "_background"):
        with input_error("bad-value", "None of these"):
            labelling.label(key, name)
    with input_error("bad-value"):
        labelling.label(key, "a/b")
    with input_error("file-missing"):
        labelling.label("../../etc/passwd", known)
    assert labelling.session.labels == {key: ("Grey Parrot",)}


def test_the_check_is_the_audit_of_all_learned_clips(labelling, world, model, tmp_path):
    checking = Checking(labelling)
    classes = world.classes
    wrong = {
        name: classes[(classes.index(label) + 1) % len(classes)]
        for name, label in list(world.truth.items())[::3]
    }
    keys = label_all(labelling, world, wrong)
    labelling.learn()
    learned = [(row["path"], row["labels"]) for row in world.known if row["split"] == "train"]
    learned += [(name, wrong.get(name, label)) for name, label in world.truth.items()]
    with (tmp_path / "learned.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "labels", "split"))
        writer.writerows((*row, "train") for row in learned)
    media = [world.tiny, world.root / "pool"]
    audit = Learner.load(model).audit(tmp_path / "learned.csv", media=media, num_workers=0)
    wanted = {(audit.clips[one.clip].id, one.suggested) for one in audit.suspicious}
    assert wanted
    assert checking.check() == len(wanted)
    found, named = set(), {key: name for name, key in keys.items()}
    while (current := checking.current()) is not None:
        shown, label = current
        name = named.get(shown.key, shown.name)
        assert (name, label) in learned
        found.add((name, shown.guesses[0][0]))
        if name in wrong:
            checking.correct(shown.key, world.truth[name])
        else:
            checking.keep(shown.key)
    assert found == wanted
    corrected = {keys[name] for name, _ in found if name in wrong}
    assert set(labelling.pending()) == corrected
    labelling.learn()
    records = recorded_labels(Learner.load(model).model)
    assert all(records[key] == (world.truth[named[key]],) for key in corrected)
    checking.check()
    asked_again = set()
    while (current := checking.current()) is not None:
        asked_again.add(named.get(current[0].key, current[0].name))
        checking.keep(current[0].key)
    assert asked_again.isdisjoint({name for name, _ in found} - set(wrong))


def test_a_check_needs_learned_clips(world, model, tmp_path):
    how = {"clips": world.root / "pool", "work": tmp_path / "work", "tell": lambda _: None}
    with opened_labelling(Service(model, teach=True), **how) as found:
        with input_error("no-clips", "--learned"):
            Checking(found).check()
        label_all(found, world)
        found.learn()
        Checking(found).check()  # of the clips that were labelled here


def test_joined_classes_join_the_labels(labelling, world, model):
    keys = label_all(labelling, world)
    labelling.learn()
    waiting = next(iter(keys.values()))
    labelling.join(world.classes[0], world.classes[1])
    assert world.classes[0] not in Learner.load(model).model.classes
    assert labelling.session.labels[waiting] == (world.classes[1],)
    assert not labelling.pending()


def test_a_validation_clip_is_not_learned(world, model, tmp_path):
    row = next(row for row in world.known if row["split"] == "val")
    (tmp_path / "clips").mkdir()
    shutil.copy(world.tiny / row["path"], tmp_path / "clips" / "val.mp4")
    shutil.copy(world.root / "pool" / next(iter(world.truth)), tmp_path / "clips" / "new.mp4")
    how = {"clips": tmp_path / "clips", "work": tmp_path / "work", "tell": lambda _: None}
    with opened_labelling(Service(model, teach=True), **how) as found:
        found.propose()
        assert [found.pool.clip(key).id for key in found.session.round] == ["new.mp4"]
        for key in keys_by_name(found).values():
            found.label(key, row["labels"])
        told = found.learn()
        assert told.addition.known == {row["labels"]: 1}
        assert "left out, validation clips of the model: 1 clip" in told.addition.notes
        assert not found.pending()


def test_a_correction_of_a_prediction_is_learned_with_the_labels(labelling, world, model):
    name, right = next(iter(world.truth.items()))
    clip = world.root / "pool" / name
    assert labelling.correct(clip, right) == right
    assert labelling.pending_counts() == {right: 1}
    damaged = world.root / "pool" / "damaged.mp4"
    with input_error("no-clips"):
        labelling.correct(damaged, right)
    assert [one.name for one in (labelling._work / "corrections").iterdir()] == ["000001"]
    labelling.learn()
    assert (right,) in recorded_labels(Learner.load(model).model).values()


def test_a_work_folder_has_one_server(labelling, world, model, tmp_path):
    service = Service(model, teach=True)
    with input_error("busy"), opened_labelling(service, work=tmp_path / "work"):
        pass


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"format": 1}', '{"format": 1, "labels": {"../x": []}, "unsure": []}'],
)
def test_damaged_labels_are_refused(text, tmp_path):
    place = tmp_path / "labels.json"
    place.write_text(text)
    with pytest.raises(Exception, match=r"labels\.json"):
        LabelSession.open(place)
    place.write_text(json.dumps({"format": 99}))
    with input_error("wrong-version", "99"):
        LabelSession.open(place)


def test_models_that_cannot_be_labelled_for(world, tmp_path):
    with input_error("unsupported", "does not record"):
        check_labelling(toy_model_without_records())
    unchanged = Service(world.root / "run")
    with opened_labelling(unchanged) as found:
        assert found is None


def toy_model_without_records():
    model = toy_model()
    model.method.records.drop(range(len(model.method.records)), 0)
    return model


def test_without_a_folder_labels_that_are_not_learned_remain(world, model):
    told = []
    how = {"clips": world.root / "store", "tell": told.append}
    with opened_labelling(Service(model, teach=True), **how) as found:
        folder = found._work
    assert not folder.exists()
    with opened_labelling(Service(model, teach=True), clips=world.root / "pool") as found:
        folder = found._work
        found.label(found.pool.key(0), world.classes[0])
    assert (Path(folder) / "labels.json").is_file()
    shutil.rmtree(folder)


def test_a_clip_is_found_by_its_content_in_any_store(world):
    store = Store.open(world.root / "store")
    pool = ClipPool(store, store)
    assert len(pool) == 2 * store.num_clips
    key = pool.key(store.num_clips)
    assert pool.number(key) == 0
    source = pool.source(Learner.load(world.root / "run").model, [0, store.num_clips])
    audio, visual = source.read(torch.arange(2).numpy())
    assert torch.equal(audio[0], audio[1])
    assert torch.equal(visual[0], visual[1])
