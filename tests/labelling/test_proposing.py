"""Proposals from stores of features, against the definition computed clip by clip."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from cign.labelling.pool import scored_clips
from cign.labelling.proposing import propose
from cign.learner import Learner
from cign.vocabulary import UNIMODAL
from refusals import input_error

from .made import Counting, features, store_of
from .test_design import by_loop

OPTIONS = {"width": 40, "ridge": [5.0]}
METHODS = ("cign_analytic", "analytic")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("learned") / "store", features(40, 0))


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """120 clips; some lack a modality, and 100 to 103 are clip 7 again."""
    values = features(120, 1)
    values["audio"][5:20:5] = 0
    values["visual"][6:20:5] = 0
    for name in UNIMODAL:
        values[name][100:104] = values[name][7]
    return store_of(tmp_path_factory.mktemp("pool") / "store", values)


@pytest.fixture(scope="module")
def learners(learned):
    return {
        name: Learner(name, options=OPTIONS).learn(learned, tasks=2, progress=False)
        for name in METHODS
    }


def by_definition(model, store, number):
    """Clips of the pool: margins of single clips, then the greedy loop with explicit inverses."""
    cache, rows = store.tokens(), []
    for clip in range(store.num_clips):
        with torch.no_grad():
            output = model.method(
                torch.from_numpy(cache.audio([clip])), torch.from_numpy(cache.visual([clip]))
            )
        both = bool(store.audio_ok[clip]) and bool(store.visual_ok[clip])
        judged = "audio_visual" if both else "audio" if store.audio_ok[clip] else "visual"
        p = sorted(output.probabilities[judged][0].tolist())
        margin = p[-1] - p[-2]
        if model.method.setup.multi_label:
            margin = min(abs(2 * x - 1) for x in p)
        rows.append((margin, clip, output.features))
    rows = sorted(rows, key=lambda row: row[:2])[: 2 * number]
    f = [np.array([row[2][name][0].double().numpy() for row in rows]) for name in UNIMODAL]
    for values, ok in zip(f, (store.audio_ok, store.visual_ok), strict=True):
        values[[not ok[row[1]] for row in rows]] = 0
    grams = []
    for name in UNIMODAL:
        lower = model.method.gram(name).tril().double().numpy()
        grams.append(lower + np.tril(lower, -1).T)
    ridges = [model.method.ridge_of(name) for name in UNIMODAL]
    chosen, gains = by_loop(f, grams, ridges, min(number, len(rows)))
    return [rows[row][1] for row in chosen], gains


def numbers(found):
    """Numbers of the proposed clips in the pool."""
    return [int(one.clip.id.partition("/")[2]) for one in found.proposals]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("number", [1, 9, 200])
def test_the_proposals_are_those_of_the_definition(learners, pool, name, number):
    found = learners[name].next(pool, number=number)
    wanted, gains = by_definition(learners[name].model, pool, number)
    assert numbers(found) == wanted
    np.testing.assert_allclose([one.gain for one in found.proposals], gains, rtol=1e-4, atol=1e-5)
    assert found.num_clips == found.num_scored == 120
    assert found.num_candidates == min(2 * number, 120)


def test_guesses_and_scores_are_those_of_the_prediction(learners, pool):
    learner = learners["cign_analytic"]
    found = learner.next(pool, number=30).proposals
    cache = pool.tokens()
    for one, clip in zip(found, numbers(learner.next(pool, number=30)), strict=True):
        told = learner.predict_features(cache.audio([clip]), cache.visual([clip])).one()
        best = told.modalities["audio_visual"][:2]
        assert [name for name, _ in one.guesses] == [entry["label"] for entry in best]
        assert [p for _, p in one.guesses] == pytest.approx(
            [entry["probability"] for entry in best], abs=2e-6
        )
        assert one.margin == pytest.approx(one.guesses[0][1] - one.guesses[1][1], abs=3e-6)
        assert one.unknown == pytest.approx(told.unknown, abs=1e-5)
        assert list(one.missing) == told.missing
        assert one.label == told.label


def test_clips_that_lack_a_modality_are_judged_by_the_other(learners, pool):
    found = learners["cign_analytic"].next(pool, number=120)
    missing = dict(zip(numbers(found), (one.missing for one in found.proposals), strict=True))
    lacking = dict.fromkeys((5, 10, 15), ("audio",)) | dict.fromkeys((6, 11, 16), ("visual",))
    assert missing == dict.fromkeys(range(120), ()) | lacking


def test_of_equal_clips_each_gains_less_than_the_one_before(learners, pool):
    found = learners["cign_analytic"].next(pool, number=120)
    gains = dict(zip(numbers(found), (one.gain for one in found.proposals), strict=True))
    same = sorted((gains[clip] for clip in (7, 100, 101, 102, 103)), reverse=True)
    assert all(after < before - 1e-3 for before, after in pairwise(same))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_proposals_do_not_depend_on_the_batches(learners, pool, batch_size, monkeypatch):
    learner = learners["cign_analytic"]
    wanted = numbers(learner.next(pool, number=12))

    def cut_otherwise(*args, **kwargs):
        return scored_clips(*args, **{**kwargs, "batch_size": batch_size})

    monkeypatch.setattr("cign.labelling.pool_parts.scored_clips", cut_otherwise)
    assert numbers(learner.next(pool, number=12)) == wanted


def test_several_labels_take_the_least_certain_decision(tmp_path):
    learned = store_of(tmp_path / "learned", features(40, 0, several=True))
    pool = store_of(tmp_path / "pool", features(60, 3, several=True))
    learner = Learner("cign_analytic", options=OPTIONS).learn(learned, tasks=1, progress=False)
    assert learner.model.method.setup.multi_label
    assert numbers(learner.next(pool, number=6)) == by_definition(learner.model, pool, 6)[0]


def test_labels_are_ignored_and_only_train_is_used(learners, tmp_path):
    values = features(60, 4)
    one = store_of(tmp_path / "one", values)
    turned = {**values, "labels": np.roll(values["labels"], 7)}
    other = store_of(tmp_path / "other", turned)
    learner = learners["cign_analytic"]
    assert numbers(learner.next(one, number=9)) == numbers(learner.next(other, number=9))
    values["split"][10:30] = "test"
    values["split"][30:40] = "val"
    part = learner.next(store_of(tmp_path / "part", values).folder, number=60)
    assert sorted(numbers(part)) == [*range(10), *range(40, 60)]
    assert part.notes == ("left out, of splits val, test and unknown: 30 clips",)


def test_the_model_is_not_changed(learners, pool):
    model = learners["cign_analytic"].model
    before = {name: value.clone() for name, value in model.method.state_dict().items()}
    learners["cign_analytic"].next(pool, number=5)
    after = model.method.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


# --------------------------------------------------------------------- first pass


def test_the_first_pass_takes_the_least_certain_means(learners, pool):
    learner = learners["cign_analytic"]
    cache, margins = pool.tokens(), []
    for clip in range(pool.num_clips):
        means = [
            torch.stack(
                [
                    torch.from_numpy(part).float().mean(dim=0)
                    for part in np.array_split(tokens([clip])[0], min(4, tokens([clip]).shape[1]))
                ]
            ).unsqueeze(0)
            for tokens in (cache.audio, cache.visual)
        ]
        with torch.no_grad():
            output = learner.model.method(*means)
        ok = bool(pool.audio_ok[clip]), bool(pool.visual_ok[clip])
        judged = "audio_visual" if all(ok) else "audio" if ok[0] else "visual"
        low, high = output.probabilities[judged][0].sort().values[-2:].tolist()
        margins.append(high - low)
    kept = sorted(range(120), key=lambda clip: (round(margins[clip], 6), clip))[:50]
    found = learner.next(pool, number=50, first_pass=50)
    assert found.num_scored == 100  # two candidates for each
    found = learner.next(pool, number=10, first_pass=50)
    assert found.num_scored == 50
    assert found.num_clips == 120
    assert set(numbers(found)) <= set(kept)
    assert "first pass: of 120 clips, the tokens of the 50 whose" in found.notes[0]


def test_without_single_tokens_there_is_no_first_pass(learned, pool):
    """A model of pooled vectors computes as much from a clip's mean as from its tokens."""
    options = {**OPTIONS, "pooling": ["mean"]}
    learner = Learner("analytic", options=options).learn(learned, tasks=1, progress=False)
    found = learner.next(pool, number=3, first_pass=20)
    assert found.num_scored == 120
    assert found.notes == ()


def test_all_tokens_are_scored_if_asked(learners, pool):
    found = learners["cign_analytic"].next(pool, number=3, first_pass=0)
    assert found.num_scored == 120


def test_pages_that_were_read_are_given_back(learners, pool, monkeypatch):
    released = []
    monkeypatch.setattr("cign.data.tokens.release_pages", lambda array: released.append(array))
    learners["cign_analytic"].next(pool, number=2)
    assert {array.shape for array in released} == {(120, 4, 16), (120, 3, 24)}


# ------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("how", "name"), [({"number": 0}, "number"), ({"number": 1, "first_pass": -1}, "first_pass")]
)
def test_numbers_that_make_no_sense(learners, pool, how, name):
    with input_error("bad-value", name):
        learners["cign_analytic"].next(pool, **how)


def test_a_model_without_sums(learned, pool):
    learner = Learner("ncm").learn(learned, tasks=1, progress=False)
    with input_error("unsupported", "ncm", "analytic", "cign_analytic"):
        learner.next(pool, number=3)


def test_a_store_without_training_clips(learners, tmp_path):
    values = features(20, 4)
    store = store_of(tmp_path / "store", values)
    clips = tuple(dataclasses.replace(clip, split="test") for clip in store.table.clips)
    store = dataclasses.replace(store, table=dataclasses.replace(store.table, clips=clips))
    with input_error("no-clips", "store"):
        learners["cign_analytic"].next(store, number=3)


def test_options_of_lists_have_no_effect_on_a_store(learners, pool):
    with input_error("conflicting-options", "--format"):
        learners["cign_analytic"].next(pool, number=3, format="table")


def test_an_untrained_learner():
    with input_error("not-trained"):
        Learner().next("clips", number=3)


def test_progress_counts_every_clip_in_both_passes(learners, pool):
    counting = Counting()
    propose(
        learners["cign_analytic"].model,
        pool,
        lambda: None,
        number=2,
        first_pass=30,
        progress=counting,
    )
    assert counting.stages == [["mean tokens", 120, 120], ["scoring", 30, 30]]
