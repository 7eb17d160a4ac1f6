"""`benchmarks/labels.py`: its rounds are those of a `Learner`, and what its page says."""

import dataclasses

import numpy as np
import pytest

from benchmark_scripts import BENCHMARKS, script
from cign.data.prepare.features import prepare_features
from cign.data.store import Store
from cign.learner import Learner

OPTIONS = {"width": 40, "precision": "float32"}


@pytest.fixture(scope="module")
def labels():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield script("labels")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Features of 150 clips of three classes; the last 30 are test clips."""
    rng = np.random.default_rng(0)
    number = np.arange(150)
    features = {
        "audio": (rng.normal(size=(150, 3, 16)) + 2 * np.eye(3, 16)[number % 3][:, None]).astype(
            "f2"
        ),
        "visual": (rng.normal(size=(150, 5, 24)) + 2 * np.eye(3, 24)[number % 3][:, None]).astype(
            "f2"
        ),
        "labels": np.array(["a", "b", "c"])[number % 3],
        "split": np.where(number < 120, "train", "test"),
    }
    folder = tmp_path_factory.mktemp("features") / "store"
    prepare_features(features, folder, encoders="made")
    return folder


@pytest.fixture(scope="module")
def clips(labels, place):
    return labels.Clips(place, {**labels.FIXED, **OPTIONS})


def with_train(store, train):
    chosen = set(train)
    clips = tuple(
        dataclasses.replace(clip, split="train" if i in chosen else "unknown")
        for i, clip in enumerate(store.table.clips)
    )
    return dataclasses.replace(store, table=dataclasses.replace(store.table, clips=clips))


@pytest.mark.parametrize("rule", ["`cign next`", "margin alone"])
def test_a_round_is_that_of_a_learner(labels, place, clips, rule):
    """One clip of each class is learned, then what the rule chooses from the rest."""
    store, fold = Store.open(place), clips.folds[1]
    first = labels.first_clips(clips, fold.train, 1)
    assert sorted(store.table.clips[i].labels[0] for i in first) == ["a", "b", "c"]
    method = clips.method()
    clips.learn(method, first)
    learner = Learner("cign_analytic", options={**labels.FIXED, **OPTIONS})
    learner.learn(with_train(store, first), progress=False)
    left = np.array(sorted(set(fold.train) - set(first)))
    pool = labels.Pool(clips=clips, method=method, left=left, rng=np.random.default_rng(0))
    chosen = labels.RULES[rule](pool, 7)
    found = learner.next(with_train(store, left), number=len(left) if "margin" in rule else 7)
    by_id = {clip.id: i for i, clip in enumerate(store.table.clips)}
    proposals = found.proposals
    if rule == "margin alone":
        proposals = sorted(proposals, key=lambda one: one.margin)[:7]
    assert chosen == [by_id[one.clip.id] for one in proposals]
    clips.learn(method, chosen)
    learner.add(with_train(store, chosen), keep=False, progress=False)
    tested = np.array(fold.test)
    cache = store.tokens()
    told = learner.predict_features(cache.audio(tested), cache.visual(tested), top=3)
    probabilities = clips.scored(method, tested)[1]
    for row, one in zip(probabilities, told, strict=True):
        wanted = {e["label"]: e["probability"] for e in one.modalities["audio_visual"]}
        assert dict(zip(store.class_names, row.tolist(), strict=True)) == pytest.approx(
            wanted, abs=1e-4
        )


def test_test_clips_are_in_no_fold(clips):
    used = {i for fold in clips.folds for i in (*fold.train, *fold.test)}
    assert used == set(range(120)) == set(clips.row_of)


@pytest.mark.parametrize("rule", ["random", "leverage alone", "`cign next`", "clusters"])
def test_every_rule_chooses_new_clips_of_the_pool(labels, clips, rule):
    rules = {**labels.RULES, **labels.VARIANTS}
    name = next(one for one in rules if one.startswith(rule))
    found = labels.curve(clips, rules[name], 2, 40)
    assert [number for number, _ in found] == [3, 20, 40]
    assert all(0 <= value <= 100 for _, value in found)
    assert found[-1][1] > 40  # chance is 33
    assert found == labels.curve(clips, rules[name], 2, 40)


def test_intervals_and_labels_needed(labels):
    assert labels.interval([1.0, 2.0, 3.0]) == "2.0 ± 2.5"  # 4.303 / sqrt(3)
    curves = [{20: 50.0, 40: 81.0, 60: 90.0}, {20: 72.0, 40: 80.0, 60: 79.0}]
    assert labels.needed(curves, [90.0, 80.0], 0.9) == "30"  # 40 and 20
    assert labels.needed(curves, [90.0, 100.0], 0.9) == "> 60"
