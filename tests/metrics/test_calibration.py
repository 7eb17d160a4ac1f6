"""Calibration against loops written from the papers' formulas, scikit-learn, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import mean_squared_error

from cign.metrics import calibration as cal
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES


def run_of(scores, labels, num_classes):
    names = tuple(f"c{i}" for i in range(num_classes))
    return Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=[tuple(names[c] for c in np.atleast_1d(own)) for own in labels],
        class_names=names,
        task_sizes=(num_classes,),
        scores=[dict.fromkeys(MODALITIES, scores)],
    )


def ece_by_loops(confidences, right, num_bins=15):
    total = 0.0
    for m in range(num_bins):
        low, high = m / num_bins, (m + 1) / num_bins
        inside = [i for i, c in enumerate(confidences) if low < c <= high or (m == 0 and c == 0)]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            confidence = sum(confidences[i] for i in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(accuracy - confidence)
    return total


@settings(deadline=None, max_examples=80)
@given(st.integers(2, 7), st.integers(1, 60), st.floats(0.1, 8.0), st.integers(0, 10**6))
def test_ece_and_brier_of_random_soft_maxes(num_classes, num_clips, sharpness, seed):
    generator = np.random.default_rng(seed)
    scores = softmax(sharpness * generator.normal(size=(num_clips, num_classes)), axis=1)
    scores = scores.astype(np.float32)
    labels = generator.integers(num_classes, size=num_clips)
    found = cal.summarise(run_of(scores, labels, num_classes))["audio"]
    confidences = scores.max(axis=1).astype(np.float64).tolist()
    right = (scores.argmax(axis=1) == labels).tolist()
    assert found["ece"] == pytest.approx(100 * ece_by_loops(confidences, right), abs=1e-4)
    exact = scores.astype(np.float64) / scores.sum(axis=1, keepdims=True, dtype=np.float64)
    squared = mean_squared_error(np.eye(num_classes)[labels], exact, multioutput="raw_values")
    assert found["brier"] == pytest.approx(squared.sum(), abs=1e-5)
    assert 0 <= found["adaptive_ece"] <= 100


def test_bins_are_scikit_learns_where_both_are_defined():
    generator = np.random.default_rng(3)
    confidences = generator.uniform(0.01, 0.99, size=500)
    right = generator.uniform(size=500) < confidences**2
    accuracy, told = calibration_curve(right, confidences, n_bins=15)
    ours = [one for one in cal.reliability(confidences, right) if one.count]
    np.testing.assert_allclose([one.accuracy for one in ours], accuracy)
    np.testing.assert_allclose([one.confidence for one in ours], told)
    assert sum(one.count for one in ours) == 500


def test_bins_by_hand_and_at_their_edges():
    bins = cal.reliability(np.array([0.0, 0.5, 0.5, 0.51, 1.0]), np.array([0, 1, 0, 1, 1]), 2)
    assert [(one.low, one.high, one.count) for one in bins] == [(0.0, 0.5, 3), (0.5, 1.0, 2)]
    assert bins[0].confidence == pytest.approx(1 / 3)
    assert bins[0].accuracy == pytest.approx(1 / 3)
    assert cal.expected_error(bins) == pytest.approx(2 / 5 * (1 - 0.755))


def test_adaptive_bins_hold_equally_many_and_ties_share():
    confidences = np.array([0.1, 0.2, 0.3, 0.9, 0.9, 0.9])
    right = np.array([0, 0, 1, 1, 0, 1])
    # Bins {0.1, 0.2}, {0.3, 0.9}, {0.9, 0.9}; each 0.9 is worth 2/3.
    wanted = (abs(0 - 0.3) + abs(1 + 2 / 3 - 1.2) + abs(4 / 3 - 1.8)) / 6
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [4, 0, 3, 2, 5, 1]):
        assert cal.adaptive_error(confidences[order], right[order], 3) == pytest.approx(wanted)
    generator = np.random.default_rng(0)
    confidences = generator.uniform(size=300)
    right = generator.uniform(size=300) < 0.5
    total = 0.0
    for part in np.array_split(np.argsort(confidences), 15):
        total += 20 / 300 * abs(right[part].mean() - confidences[part].mean())
    assert cal.adaptive_error(confidences, right) == pytest.approx(total)


def test_the_sure_and_right_are_calibrated_and_the_sure_and_wrong_are_not():
    right = cal.summarise(run_of(np.eye(3)[[0, 1, 2]], [0, 1, 2], 3))["visual"]
    assert right == {"ece": 0.0, "adaptive_ece": 0.0, "brier": 0.0}
    wrong = cal.summarise(run_of(np.eye(3)[[1, 2, 0]], [0, 1, 2], 3))["visual"]
    assert wrong == {"ece": 100.0, "adaptive_ece": 100.0, "brier": 2.0}
    one_class = cal.summarise(run_of(np.ones((4, 1)), [0] * 4, 1))["visual"]
    assert one_class == {"ece": 0.0, "adaptive_ece": 0.0, "brier": 0.0}


def test_only_probabilities_are_read():
    assert cal.kind_of_scores(np.array([[0.25, 0.75]])) == "distribution"
    assert cal.kind_of_scores(np.array([[0.25, 0.25]])) == "independent"
    for scores in ([[-0.1, 1.1]], [[0.0, -np.inf]], [[3.0, 0.0]]):
        assert cal.kind_of_scores(np.array(scores)) is None
        found = cal.summarise(run_of(np.array(scores), [0], 2))["audio"]
        assert set(found.values()) == {None}
        assert cal.tables(run_of(np.array(scores), [0], 2))["audio"] is None


def test_several_labels_are_read_class_by_class():
    scores = np.array([[0.9, 0.8, 0.1], [0.2, 0.6, 0.4]])
    run = run_of(scores, [[0, 1], [1]], 3)
    confidences, right = cal.confidence_pairs(run, "audio")
    assert confidences.tolist() == pytest.approx(scores.ravel().tolist())
    assert right.tolist() == [True, True, False, False, True, False]
    assert cal.summarise(run)["audio"]["brier"] == pytest.approx(
        (0.01 + 0.04 + 0.01 + 0.04 + 0.16 + 0.16) / 2
    )


def test_clips_of_no_class_take_no_part():
    run = run_of(np.array([[0.9, 0.1], [0.6, 0.4]]), [0, 1], 2)
    run.labels[1] = ("stranger",)
    assert cal.summarise(run)["audio"]["ece"] == pytest.approx(10.0, abs=1e-4)
    run.labels[0] = ("stranger",)
    assert set(cal.summarise(run)["audio"].values()) == {None}
    assert [one["count"] for one in cal.tables(run)["audio"]] == [0] * 15
    nothing = Predictions(clip_ids=[], labels=[], class_names=("a",), task_sizes=(1,))
    assert cal.tables(nothing) == dict.fromkeys(MODALITIES)
