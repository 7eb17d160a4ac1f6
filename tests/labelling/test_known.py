"""Clips that a model knows, among those of a store: against the store without them."""

import time

import numpy as np
import pytest
import torch

from cign.data.tasks import are_among
from cign.learner import Learner
from cign.saved_model.validation_clips import KeptClips
from refusals import input_error

from .made import features, store_of
from .test_proposing import METHODS, OPTIONS, numbers


def joined(*parts):
    """Features one after another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def ids(found):
    return [one.clip.id for one in found.proposals]


@pytest.fixture(scope="module")
def given():
    """Features of 50 clips, of which 10 are for validation."""
    values = features(50, 0)
    values["split"] = np.where(np.arange(50) < 40, "train", "val")
    return values


@pytest.fixture(scope="module")
def learners(given, tmp_path_factory):
    store = store_of(tmp_path_factory.mktemp("given") / "store", given)
    return {
        name: Learner(name, options=OPTIONS).learn(store, tasks=1, progress=False)
        for name in METHODS
    }


@pytest.fixture(scope="module")
def pools(given, tmp_path_factory):
    """60 new clips, and the same among all that the models know, in split train."""
    new, folder = features(60, 1), tmp_path_factory.mktemp("pools")
    known = {**given, "split": np.full(50, "train")}
    first = {name: values[:30] for name, values in new.items()}
    second = {name: values[30:] for name, values in new.items()}
    return store_of(folder / "new", new), store_of(folder / "all", joined(first, known, second))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("first_pass", [0, 30])
def test_known_clips_change_nothing(learners, pools, name, first_pass):
    learner = learners[name]
    assert learner.model.kept.num_clips == 10
    wanted, found = (learner.next(pool, number=12, first_pass=first_pass) for pool in pools)
    assert ids(found) == ids(wanted)
    assert (found.num_clips, found.num_known, found.num_scored) == (60, 50, wanted.num_scored)
    assert found.notes[-2:] == (
        "left out, which the model has learned: 40 clips",
        "left out, which are validation clips of the model: 10 clips",
    )
    assert wanted.num_known == 0


def test_without_any_other_clip_it_says_so(learners, given, tmp_path):
    known = store_of(tmp_path / "known", {**given, "split": np.full(50, "train")})
    with input_error("no-clips", "50 clips", "does not know"):
        learners["cign_analytic"].next(known, number=3)


def test_an_added_clip_is_known_and_a_forgotten_one_is_not(given, pools, tmp_path):
    new, _ = pools
    store = store_of(tmp_path / "store", given)
    learner = Learner("cign_analytic", options=OPTIONS).learn(store, tasks=1, progress=False)
    chosen = numbers(learner.next(new, number=9))
    some = {name: values[chosen] for name, values in features(60, 1).items()}
    added = store_of(tmp_path / "added", some)
    learner.add(added, keep=False, progress=False)
    after = learner.next(new, number=60)
    assert set(numbers(after)) == set(range(60)) - set(chosen)
    assert after.num_known == 9
    learner.forget(added, progress=False)
    assert set(numbers(learner.next(new, number=60))) == set(range(60))


def test_where_clips_are_not_recorded_it_says_so(given, pools, tmp_path):
    store = store_of(tmp_path / "store", given)
    learner = Learner("cign_analytic", options=OPTIONS).learn(store, tasks=1, progress=False)
    assert not any("record" in note for note in learner.next(pools[1], number=3).notes)
    learner.model.method.class_clips += 1.0  # of a model whose clips had no hashes
    found = learner.next(pools[1], number=3)
    assert any("does not record all clips" in note for note in found.notes)


# ------------------------------------------------------------------------- parts


def test_validation_clips_of_a_batch_are_those_found_one_by_one():
    rng = np.random.default_rng(0)
    audio, visual = (
        (5 + rng.normal(size=(20, *shape))).astype(np.float16) for shape in ((4, 16), (3, 24))
    )
    kept = KeptClips(
        audio=torch.from_numpy(audio[:8]),
        visual=torch.from_numpy(visual[:8]),
        labels=(("a",),) * 8,
    )
    # From equal clips to clips at twice the largest distance, in both modalities.
    rows = np.arange(200) % 8
    shares = np.linspace(0, 0.02, 200)[:, None, None]
    near = []
    for values in (audio, visual):
        noise = rng.normal(size=values[rows].shape)
        noise /= np.linalg.norm(noise, axis=(1, 2), keepdims=True)
        norms = np.linalg.norm(values[rows].astype(float), axis=(1, 2), keepdims=True)
        near.append((values[rows] + shares * norms * noise).astype(np.float16))
    batches = [np.concatenate(both) for both in zip((audio, visual), near, strict=True)]
    found = kept.contain(*map(torch.from_numpy, batches))
    assert found.tolist() == [kept.holds(a, v) for a, v in zip(*batches, strict=True)]
    assert found[:20].tolist() == [True] * 8 + [False] * 12
    assert 50 < found[20:].sum() < 150
    assert kept.contain(*(torch.from_numpy(values[:0]) for values in (audio, visual))).size == 0


def test_hashes_among_others_are_those_of_a_set():
    rng = np.random.default_rng(0)
    some = rng.integers(0, 256, (300, 32), dtype=np.uint8)
    others = np.concatenate([some[::7], rng.integers(0, 256, (50, 32), dtype=np.uint8)])
    others[:20, :8] = some[:20, :8]  # alike at the beginning only
    others[20:25, -1] = 0  # bytes of 0 at the end count
    some[7 * 20, -1], some[0, :] = 0, 0
    wanted = {bytes(one) for one in others}
    assert are_among(some, others).tolist() == [bytes(one) in wanted for one in some]
    assert are_among(some, others).sum() > 15
    assert not are_among(some, others[:0]).any()
    assert are_among(some[:0], others).tolist() == []


def test_a_hundred_thousand_hashes_take_less_than_seconds():
    hashes = np.random.default_rng(0).integers(0, 256, (100_000, 32), dtype=np.uint8)
    began = time.process_time()
    assert are_among(hashes, hashes[::-1]).all()
    assert time.process_time() - began < 2
