"""Old and new: against scikit-learn's confusion matrix, by hand, and against forgetting."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from cign.metrics import breakdown, costs, incremental
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES


def draw(sizes=(2, 2, 1), num_clips=80, seed=0, strangers=10):
    generator = np.random.default_rng(seed)
    names = tuple(f"c{i}" for i in range(sum(sizes)))
    labels = [(names[c],) for c in generator.integers(len(names), size=num_clips)]
    labels += [("stranger",)] * strangers
    ends = np.cumsum(sizes)
    return Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=labels,
        class_names=names,
        task_sizes=sizes,
        scores=[{r: generator.normal(size=(len(labels), n)) for r in MODALITIES} for n in ends],
    )


def test_confusion_is_scikit_learns():
    run = draw()
    true = [run.class_names.index(names[0]) for names in run.labels[:80]]
    for modality in MODALITIES:
        given_to = run.scores[-1][modality][:80].argmax(axis=1)
        wanted = confusion_matrix(true, given_to, labels=range(5))
        np.testing.assert_array_equal(breakdown.confusion(run, modality), wanted)


def test_four_numbers_by_hand():
    table = np.array([[3, 1, 0], [0, 2, 2], [1, 0, 4]])
    found = breakdown.old_and_new(table, np.array([False, False, True]))
    assert found == {
        "old_as_old": 75.0,
        "old_as_new": 25.0,
        "new_as_old": 20.0,
        "new_as_new": 80.0,
    }
    nothing = breakdown.old_and_new(np.zeros((2, 2), int), np.array([False, True]))
    assert set(nothing.values()) == {None}


def test_pairs_add_up_and_only_the_last_task_is_new():
    run = draw()
    assert breakdown.is_new(run).tolist() == [False] * 4 + [True]
    for found in breakdown.summarise(run).values():
        assert found["old_as_old"] + found["old_as_new"] == pytest.approx(100)
        assert found["new_as_old"] + found["new_as_new"] == pytest.approx(100)
    run.scores.pop()
    assert breakdown.is_new(run).tolist() == [False, False, True, True]


def test_one_task_and_several_labels_have_no_old_and_new():
    assert set(breakdown.summarise(draw((3,)))["audio"].values()) == {None}
    run = draw()
    run.labels[0] = ("c0", "c1")
    assert breakdown.confusion(run, "audio") is None
    assert set(breakdown.summarise(run)["audio"].values()) == {None}


def test_mean_forgetting_of_the_tasks_is_forgetting():
    for seed in range(5):
        matrix = incremental.accuracy_matrix(draw(seed=seed), "audio")
        tasks = incremental.task_forgetting(matrix)
        assert len(tasks) == 2
        assert tasks.mean() == pytest.approx(incremental.forgetting(matrix))
    assert incremental.task_forgetting(np.array([[1.0]])).tolist() == []


def test_costs_are_divided_by_what_their_names_say():
    recorded = {"seconds": 30.0, "bytes_kept": 1200, "peak_memory_mb": 5.0}
    found = costs.summarise(recorded, num_train=60, num_classes=4)
    assert found["seconds_per_clip"] == 0.5
    assert found["bytes_per_class"] == 300
    assert found["trainable_parameters"] is None
    assert set(found) == set(costs.DEFINITIONS)
    assert set(costs.summarise({}, num_train=None, num_classes=4).values()) == {None}


def test_unbeaten_points():
    assert costs.unbeaten([1, 2, 3, 2], [50, 60, 60, 40]) == [True, True, False, False]
    assert costs.unbeaten([1, 1], [5, 5]) == [True, True]
    assert costs.unbeaten([], []) == []
