"""Results per class and clip: against scipy, scikit-learn and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import recall_score

from cign.metrics import classes as found
from cign.metrics.predictions import Predictions
from cign.utils.wording import listed
from cign.vocabulary import MODALITIES

from .test_breakdown import draw


def by_hand(true, predicted, names=("dog", "wolf", "cat"), scores=None):
    """Predictions of one task whose arg-max is given; ``scores`` are those of the arg-max."""
    values = np.zeros((len(true), len(names)), np.float32)
    for row, name in enumerate(predicted):
        values[row, names.index(name)] = 1.0 if scores is None else scores[row]
    return Predictions(
        clip_ids=[f"{i}.mp4" for i in range(len(true))],
        labels=[(name,) if isinstance(name, str) else name for name in true],
        class_names=names,
        task_sizes=(len(names),),
        scores=[dict.fromkeys(MODALITIES, values)],
    )


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 10), (7, 30), (23, 30), (10, 10), (1, 2)])
def test_wilson_intervals_are_scipys(k, n):
    wanted = binomtest(k, n).proportion_ci(method="wilson")
    assert found.wilson_interval(k, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    low, high = found.percent_interval(100 * k / n, n)
    assert (low, high) == pytest.approx((100 * wanted.low, 100 * wanted.high))


def test_without_clips_there_is_no_interval():
    assert found.wilson_interval(0, 0) is None
    assert found.percent_interval(None, 0) is None


def test_recall_of_each_class_is_scikit_learns_with_scipys_interval():
    run = draw()
    true = [run.class_names.index(names[0]) for names in run.labels[:80]]
    for modality in MODALITIES:
        given = run.scores[-1][modality][:80].argmax(axis=1)
        wanted = recall_score(true, given, average=None, labels=range(5))
        recalls = found.class_recalls(run, modality)
        assert [one.name for one in recalls] == list(run.class_names)
        assert [one.num_clips for one in recalls] == np.bincount(true).tolist()
        assert [one.recall for one in recalls] == pytest.approx(100 * wanted)
        for one, share in zip(recalls, wanted, strict=True):
            ends = binomtest(round(share * one.num_clips), one.num_clips).proportion_ci(
                method="wilson"
            )
            assert (one.low, one.high) == pytest.approx((100 * ends.low, 100 * ends.high))


def test_a_class_without_test_clips_has_no_recall():
    run = by_hand(["dog", "dog", "wolf"], ["dog", "wolf", "wolf"])
    cat = found.class_recalls(run, "audio")[2]
    assert (cat.num_clips, cat.recall, cat.low, cat.high) == (0, None, None, None)
    assert found.untested_classes(run) == ["cat"]
    assert found.num_tested(run) == 3


def test_confusions_are_sentences_with_the_most_clips_first():
    true = ["dog"] * 30 + ["wolf"] * 4 + ["cat"]
    predicted = ["wolf"] * 7 + ["cat"] * 2 + ["dog"] * 21 + ["dog"] * 2 + ["wolf"] * 2 + ["dog"]
    run = by_hand(true, predicted)
    sentences = [str(one) for one in found.worst_confusions(run)]
    assert sentences == [
        "dog was predicted as wolf in 7 of 30 clips (23 %)",
        "wolf was predicted as dog in 2 of 4 clips (50 %)",
        "dog was predicted as cat in 2 of 30 clips (7 %)",
        "cat was predicted as dog in 1 of 1 clip (100 %)",
    ]
    assert [str(one) for one in found.worst_confusions(run, most=1)] == sentences[:1]
    assert found.worst_confusions(by_hand(["dog"], ["dog"])) == []


def test_wrong_clips_come_with_the_highest_score_first():
    run = by_hand(
        ["dog", "wolf", "cat", "stranger", "dog"],
        ["wolf", "wolf", "dog", "dog", "cat"],
        scores=[0.6, 0.9, 0.8, 0.99, 0.6],
    )
    wrong = found.wrong_clips(run)
    assert [(one.row, one.clip, one.labels, one.predicted) for one in wrong] == [
        (2, "2.mp4", ("cat",), "dog"),
        (0, "0.mp4", ("dog",), "wolf"),
        (4, "4.mp4", ("dog",), "cat"),
    ]
    assert [one.score for one in wrong] == pytest.approx([0.8, 0.6, 0.6])


def test_clips_with_several_labels_have_precisions_and_no_confusions():
    run = by_hand([("dog", "cat"), ("wolf",), ("cat",)], ["cat", "dog", "cat"])
    assert found.worst_confusions(run) == []
    assert [one.clip for one in found.wrong_clips(run)] == ["1.mp4"]
    recalls = found.class_recalls(run, "audio_visual")
    assert recalls[2].recall == 100.0
    assert all(one.low is None for one in recalls)


def test_before_the_first_task_nothing_is_wrong():
    run = draw()
    run.scores.clear()
    assert found.wrong_clips(run) == []
    assert found.worst_confusions(run) == []


def test_long_lists_of_names_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefghijkl"), 3) == "a, b, c and 9 more"
