"""Every class weighs the same: against scikit-learn, and by hand at the bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from cign.metrics import imbalance
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES
from refusals import input_error

NAN = float("nan")


def run_of(true, given_to, num_classes):
    names = tuple(f"c{i}" for i in range(num_classes))
    return Predictions(
        clip_ids=[str(i) for i in range(len(true))],
        labels=[(names[c],) for c in true],
        class_names=names,
        task_sizes=(num_classes,),
        scores=[{r: np.eye(num_classes)[np.asarray(given_to, int)] for r in MODALITIES}],
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 10**6))
def test_balanced_accuracy_is_scikit_learns(num_classes, num_clips, seed):
    generator = np.random.default_rng(seed)
    true = generator.integers(num_classes, size=num_clips)
    given_to = generator.integers(num_classes, size=num_clips)
    with np.errstate(all="raise"):
        found = imbalance.summarise(run_of(true, given_to, num_classes))["visual"]["balanced"]
    # Theirs warns where a class is predicted that no clip shows, and leaves it out, as ours does.
    shown = np.unique(true)
    theirs = np.mean([np.mean(given_to[true == c] == c) for c in shown])
    assert found == pytest.approx(100 * theirs)
    if len(shown) > 1 and set(given_to) <= set(shown):
        assert found == pytest.approx(100 * balanced_accuracy_score(true, given_to))


def test_bounds_of_many_medium_and_few():
    recall = np.array([0.1, 0.2, 0.4, 0.8, 1.0])
    found = imbalance.by_frequency(recall, np.array([101, 100, 20, 19, 1]))
    assert found == {"many": 0.1, "medium": pytest.approx(0.3), "few": pytest.approx(0.9)}
    assert imbalance.by_frequency(recall[:1], np.array([50])) == {
        "many": None,
        "medium": 0.1,
        "few": None,
    }


def test_worst_tenth_rounds_up_and_leaves_out_what_is_not_defined():
    assert imbalance.worst_tenth(np.arange(10.0)[::-1]) == 0.0
    assert imbalance.worst_tenth(np.arange(11.0)) == 0.5
    assert imbalance.worst_tenth(np.array([NAN, 3.0])) == 3.0
    assert imbalance.worst_tenth(np.array([NAN])) is None
    assert imbalance.balanced_accuracy(np.array([])) is None


def test_a_run_by_hand():
    run = run_of([0, 0, 0, 1, 2], [0, 0, 1, 1, 0], 4)  # recalls 2/3, 1, 0 and none
    counts = {"c0": 200, "c1": 50, "c2": 5, "c3": 5}
    for modality in MODALITIES:
        found = imbalance.summarise(run, counts)[modality]
        assert found["balanced"] == pytest.approx(100 * (2 / 3 + 1) / 3)
        assert found["many"] == pytest.approx(200 / 3)
        assert (found["medium"], found["few"], found["worst_tenth"]) == (100.0, 0.0, 0.0)
        assert set(found) == set(imbalance.DEFINITIONS)
    without = imbalance.summarise(run)["audio"]
    assert [without[name] for name in ("many", "medium", "few")] == [None] * 3
    with input_error("bad-value", "'c3'"):
        imbalance.summarise(run, {"c0": 1, "c1": 1, "c2": 1})


def test_all_wrong_and_nothing_learned():
    assert imbalance.summarise(run_of([0, 1], [1, 0], 2))["audio"]["balanced"] == 0.0
    nothing = Predictions(clip_ids=[], labels=[], class_names=("a",), task_sizes=(1,))
    assert set(imbalance.summarise(nothing)["audio"].values()) == {None}
