"""Open-set metrics against scikit-learn, against the curve drawn point by point, and by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from cign.metrics.open_set import (
    RUN_DEFINITIONS,
    answered_right,
    auroc,
    fpr_at_recall,
    is_known,
    num_unknown,
    open_set,
    open_set_after,
    oscr,
    summarise,
    summarise_open_set,
)
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES


def drawn(seed, num_known=57, num_unknown=41, levels=None):
    """Scores of known and unknown clips, rounded to few levels so that many are equal."""
    rng = np.random.default_rng(seed)
    known, unknown = rng.normal(0, 1, num_known), rng.normal(0.8, 1.3, num_unknown)
    if levels:
        known, unknown = np.round(known * levels) / levels, np.round(unknown * levels) / levels
    return known, unknown, rng.random(num_known) < 0.7


CASES = [(seed, levels) for seed in range(5) for levels in (None, 2)]


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_auroc_is_scikit_learns(seed, levels):
    known, unknown, _ = drawn(seed, levels=levels)
    truth = np.r_[np.zeros(len(known)), np.ones(len(unknown))]
    wanted = roc_auc_score(truth, np.r_[known, unknown])
    assert auroc(known, unknown) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_fpr95_is_a_point_of_scikit_learns_curve(seed, levels):
    known, unknown, _ = drawn(seed, levels=levels)
    # Known clips are the positive ones here, and a low score speaks for them.
    truth = np.r_[np.ones(len(known)), np.zeros(len(unknown))]
    fpr, tpr, _ = roc_curve(truth, -np.r_[known, unknown], drop_intermediate=False)
    assert fpr_at_recall(known, unknown) == fpr[np.flatnonzero(tpr >= 0.95)[0]]
    assert fpr_at_recall(known, unknown, 1.0) == fpr[np.flatnonzero(tpr >= 1.0)[0]]


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_oscr_is_the_area_under_the_curve_drawn_threshold_by_threshold(seed, levels):
    known, unknown, right = drawn(seed, levels=levels)
    thresholds = [-np.inf, *np.unique(np.r_[known, unknown])]
    accepted = [np.mean(right & (known <= t)) for t in thresholds]
    wrong = [np.mean(unknown <= t) for t in thresholds]
    assert oscr(known, right, unknown) == pytest.approx(np.trapezoid(accepted, wrong), abs=1e-12)
    assert oscr(known, right, unknown) <= right.mean()


def test_by_hand():
    known, unknown = np.array([0.1, 0.2, 0.6, 0.9]), np.array([0.6, 0.8])
    right = np.array([True, False, True, True])
    # Pairs (known < unknown): 0.1 and 0.2 beat both, 0.6 draws with 0.6 and beats 0.8, 0.9 none.
    assert auroc(known, unknown) == (2 + 2 + 1.5) / 8
    assert oscr(known, right, unknown) == (2 + 1.5) / 8
    assert fpr_at_recall(known, unknown) == 1.0
    assert fpr_at_recall(known, unknown, 0.75) == 0.5
    assert fpr_at_recall(known, unknown, 0.5) == 0.0


def test_nothing_to_measure_is_none():
    some, none = np.array([0.1, 0.4]), np.zeros(0)
    right = np.ones(2, dtype=bool)
    assert open_set(some, right, none) == dict.fromkeys(("auroc", "fpr95", "oscr"))
    assert auroc(none, some) is None
    assert fpr_at_recall(none, some) is None


def test_twenty_known_clips_let_one_be_lost():
    known = np.arange(20.0)
    assert fpr_at_recall(known, np.array([18.0, 18.5])) == 0.5


def test_a_clip_with_a_known_and_an_unknown_label_is_neither():
    known, unknown = is_known([("a",), ("a", "z"), ("z",), ("b", "a")], ("a", "b"))
    assert known.tolist() == [0, 3]
    assert unknown.tolist() == [2]


def test_right_is_any_of_the_labels():
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.2, 0.1]])
    assert answered_right(scores, [("a",), ("a",), ("b", "a")], ("a", "b")).tolist() == [
        True,
        False,
        True,
    ]


def test_classes_still_to_come_and_the_held_out_group_are_the_unknowns():
    predictions = Predictions(
        clip_ids=list("pqrs"),
        labels=[("a",), ("b",), ("never",), ("a",)],
        class_names=("a", "b"),
        task_sizes=(1, 1),
    )
    first = np.array([[0.9], [0.8], [0.3], [0.7]])
    predictions.add_task(dict.fromkeys(MODALITIES, first))
    second = np.array([[0.9, 0.1], [0.3, 0.6], [0.65, 0.2], [0.2, 0.7]])
    predictions.add_task(dict.fromkeys(MODALITIES, second))
    # After task 1: known p 0.9 and s 0.7, unknown q 0.8 and r 0.3.
    assert open_set_after(predictions, 0, "audio")["auroc"] == pytest.approx(75.0)
    # After task 2: known p 0.9, q 0.6, s 0.7 (answered wrong), unknown r 0.65.
    after = open_set_after(predictions, 1, "audio")
    assert after["auroc"] == pytest.approx(200 / 3)
    assert after["oscr"] == pytest.approx(100 / 3)
    assert after["fpr95"] == pytest.approx(100.0)
    assert summarise_open_set(predictions)["visual"][1] == after
    assert num_unknown(predictions) == [2, 1]
    found = summarise(predictions)["audio"]
    assert list(found) == list(RUN_DEFINITIONS)
    assert found["auroc"] == pytest.approx((75.0 + 200 / 3) / 2)
    assert found["oscr_last"] == pytest.approx(100 / 3)


def drawn_run(seed, *, held_out=True, several=False, num_done=3):
    """A run of three tasks on clips that carry one label, or one or two."""
    rng = np.random.default_rng(seed)
    names = tuple("abcdef")
    labels = [(name,) for name in (*names, *("zz" if held_out else "")) for _ in range(8)]
    if several:
        labels = [
            (*one, names[i % 6]) if one[0] != names[i % 6] else one for i, one in enumerate(labels)
        ]
    return Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=labels,
        class_names=names,
        task_sizes=(2, 2, 2),
        scores=[
            {r: rng.integers(0, 9, size=(len(labels), n)) / 8 for r in MODALITIES}
            for n in (2, 4, 6)
        ][:num_done],
    )


@pytest.mark.parametrize("several", [False, True])
def test_a_runs_numbers_are_scikit_learns_means(several):
    run = drawn_run(3, several=several)
    for modality in MODALITIES:
        wanted = []
        for k, num_seen in enumerate((2, 4, 6)):
            seen, scores = set(run.class_names[:num_seen]), run.scores[k][modality].max(axis=1)
            inside = [set(names) <= seen for names in run.labels]
            outside = [not set(names) & seen for names in run.labels]
            judged = np.array(inside) | np.array(outside)
            if any(outside):
                wanted.append(100 * roc_auc_score(np.array(outside)[judged], -scores[judged]))
        assert summarise(run)[modality]["auroc"] == pytest.approx(np.mean(wanted))
        # Classes still to come, and with single labels the held-out group too.
        assert len(wanted) == (2 if several else 3)


def test_a_run_without_unknown_clips_has_dashes_at_its_end_only():
    run = drawn_run(0, held_out=False)
    found = summarise(run)["audio"]
    assert num_unknown(run) == [32, 16, 0]
    assert found["oscr"] is not None
    assert [found[name] for name in ("oscr_last", "auroc_last", "fpr95_last")] == [None] * 3
    # What an unfinished run gives after the tasks done is not what it gives at its end.
    begun = summarise(drawn_run(0, num_done=2))["audio"]
    assert begun["oscr"] is not None
    assert begun["oscr_last"] is None
    assert set(summarise(drawn_run(0, num_done=0))["audio"].values()) == {None}
