"""Thresholds of classes, against the curves of scikit-learn and a search over all thresholds."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, precision_score, recall_score

from cign.inference.batch_results import assigned
from cign.labelling.thresholds import threshold_for, wanted_of
from refusals import input_error


def draw(seed, num_clips=80, digits=2):
    """Scores with ties, and whether the clips are of the class."""
    rng = np.random.default_rng(seed)
    is_of_class = rng.random(num_clips) < 0.3
    is_of_class[0] = True
    scores = np.clip(0.3 * is_of_class + rng.normal(0.4, 0.2, num_clips), 0, 1).round(digits)
    return scores, is_of_class


@pytest.mark.parametrize("wanted", [0.3, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(12))
def test_a_precision_is_reached_at_the_highest_recall(seed, wanted):
    scores, is_of_class = draw(seed)
    found = threshold_for(scores, is_of_class, np.ones(80, bool), "precision", wanted)
    precision, recall, thresholds = precision_recall_curve(is_of_class, scores)
    reached = precision[:-1] >= wanted
    if not reached.any():
        assert not found.is_reached
        assert found.precision == pytest.approx(precision[:-1].max())
        best = recall[:-1][precision[:-1] == precision[:-1].max()].max()
        assert found.recall == pytest.approx(best)
        return
    assert found.is_reached
    assert found.threshold == pytest.approx(thresholds[reached].min())
    assigned = scores >= found.threshold
    assert found.precision == pytest.approx(precision_score(is_of_class, assigned))
    assert found.recall == pytest.approx(recall_score(is_of_class, assigned))
    assert found.recall == pytest.approx(recall[:-1][reached].max())


@pytest.mark.parametrize("wanted", [0.3, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(12))
def test_a_recall_is_reached_at_the_highest_threshold(seed, wanted):
    scores, is_of_class = draw(seed)
    found = threshold_for(scores, is_of_class, np.ones(80, bool), "recall", wanted)
    precision, recall, thresholds = precision_recall_curve(is_of_class, scores)
    at = np.flatnonzero(recall[:-1] >= wanted)[-1]
    assert found.is_reached
    assert found.threshold == pytest.approx(thresholds[at])
    assert (found.precision, found.recall) == pytest.approx((precision[at], recall[at]))
    assert found.num_clips == is_of_class.sum()


@pytest.mark.parametrize("measure", ["precision", "recall"])
@pytest.mark.parametrize("seed", range(6))
def test_only_clips_that_can_be_assigned_count(seed, measure):
    """The assignment of a clip with one label: its most probable class, above its threshold."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 60)
    scores = rng.dirichlet([1, 1, 1], 60) + 0.7 * np.eye(3)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    predicted = scores.argmax(axis=1)
    found = threshold_for(scores[:, 0], labels == 0, predicted == 0, measure, 0.8)
    every = []
    for threshold in np.unique(scores[:, 0]):
        assigned = (predicted == 0) & (scores[:, 0] >= threshold)
        if assigned.any():
            every.append(
                (
                    threshold,
                    precision_score(labels == 0, assigned),
                    recall_score(labels == 0, assigned),
                )
            )
    which = 1 if measure == "precision" else 2
    reached = [one for one in every if one[which] >= 0.8]
    assert found.is_reached == bool(reached)
    if reached:
        choose = min if measure == "precision" else max
        same = choose(one[0] for one in reached)
        (wanted,) = {one[1:] for one in reached if one[0] == same}
        assert (found.precision, found.recall) == pytest.approx(wanted)
    else:
        assert (found.precision, found.recall)[which - 1] == pytest.approx(
            max(one[which] for one in every)
        )


def test_a_class_without_clips_or_assigned_clips_has_no_threshold():
    scores, every = np.array([0.2, 0.8, 0.6]), np.ones(3, bool)
    none = threshold_for(scores, np.zeros(3, bool), every, "precision", 0.9)
    assert (none.threshold, none.precision, none.recall, none.num_clips) == (None, None, None, 0)
    missed = threshold_for(scores, np.array([True, False, False]), scores > 0.5, "recall", 0.9)
    assert (missed.threshold, missed.precision, missed.recall) == (None, None, 0.0)
    assert not missed.is_reached


def test_a_class_with_a_single_clip():
    scores = np.array([0.2, 0.8, 0.6])
    best = threshold_for(scores, scores == 0.8, np.ones(3, bool), "precision", 1.0)
    assert (best.threshold, best.precision, best.recall, best.num_clips) == (0.8, 1.0, 1.0, 1)
    low = threshold_for(scores, scores == 0.6, np.ones(3, bool), "precision", 0.9)
    assert (low.threshold, low.precision, low.recall, low.is_reached) == (0.6, 0.5, 1.0, False)


def test_what_is_wanted():
    assert wanted_of(None, None) == ("precision", 0.9)
    assert wanted_of(None, 0.8) == ("recall", 0.8)
    with input_error("conflicting-options"):
        wanted_of(0.9, 0.9)
    for value in (0.0, -1.0, 1.5, float("nan")):
        with input_error("bad-value", value):
            wanted_of(value, None)


@pytest.mark.parametrize(
    ("multi_label", "limits", "wanted"),
    [
        (False, [None, None, None], ["b"]),
        (False, [0.1, 0.95, 0.1], []),
        (False, [None, 0.9, None], ["b"]),
        (True, [None, None, None], ["b", "c"]),
        (True, [0.3, 0.95, None], ["c", "a"]),
        (True, [0.5, 0.95, 0.7], []),
    ],
)
def test_classes_are_assigned_from_their_thresholds(multi_label, limits, wanted):
    """With several labels per clip, a class without a threshold has 1/2."""
    setup = SimpleNamespace(multi_label=multi_label)
    model = SimpleNamespace(classes=("a", "b", "c"), method=SimpleNamespace(setup=setup))
    probabilities = np.array([0.4, 0.9, 0.6], np.float32)
    limits = [None if one is None else float(np.float32(one)) for one in limits]
    assert assigned(model, probabilities, limits) == wanted
