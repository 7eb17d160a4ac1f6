"""Every number against a matrix worked out by hand, or against an independent computation."""

import json
import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cign.metrics import incremental as inc
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

NAN = float("nan")


def one_hot(choices, num_classes):
    return {modality: np.eye(num_classes)[choices] for modality in MODALITIES}


@pytest.fixture
def by_hand():
    """Three tasks of 2, 1 and 1 classes; 2, 1, 2 and 1 test clips; and one unknown clip.

    Labels: a a b c c d -, so task 1 has 3 clips, task 2 has 2, task 3 has 1.
    """
    return Predictions(
        clip_ids=list("tuvwxyz"),
        labels=[(name,) for name in ("a", "a", "b", "c", "c", "d", "stranger")],
        class_names=("a", "b", "c", "d"),
        task_sizes=(2, 1, 1),
        scores=[
            one_hot([0, 0, 1, 0, 0, 0, 0], 2),  # 3/3
            one_hot([0, 2, 2, 2, 2, 0, 2], 3),  # 1/3, 2/2
            one_hot([0, 3, 1, 3, 2, 3, 3], 4),  # 2/3, 1/2, 1/1
        ],
    )


MATRIX = np.array([[1, NAN, NAN], [1 / 3, 1, NAN], [2 / 3, 1 / 2, 1]])


def test_matrix_by_hand(by_hand):
    for modality in MODALITIES:
        np.testing.assert_allclose(inc.accuracy_matrix(by_hand, modality), MATRIX)
    assert inc.num_test(by_hand).tolist() == [3, 2, 1]


def test_seen_accuracy_weighs_clips_and_leaves_unknown_ones_out(by_hand):
    seen = inc.seen_accuracy(by_hand, "visual")
    np.testing.assert_allclose(seen, [3 / 3, 3 / 5, 4 / 6])
    assert inc.last(seen) == pytest.approx(4 / 6)
    assert inc.average_incremental(seen) == pytest.approx((1 + 3 / 5 + 4 / 6) / 3)


def test_named_numbers_by_hand():
    assert inc.task_mean(MATRIX) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert inc.forgetting(MATRIX) == pytest.approx(((1 - 2 / 3) + (1 - 1 / 2)) / 2)
    assert inc.forgetting_av_cil(MATRIX) == pytest.approx(((1 - 1 / 3) + 5 / 12) / 2)
    assert inc.bwt(MATRIX) == pytest.approx(((2 / 3 - 1) + (1 / 2 - 1)) / 2)
    joint = np.array([[1, NAN, NAN], [1, 0.5, NAN], [1, 1, 0.75]])
    np.testing.assert_allclose(inc.intransigence(MATRIX, joint), [0, -0.5, -0.25])


def test_forgetting_takes_the_best_earlier_step_and_may_be_negative():
    rising_then_falling = np.array([[0.5, NAN, NAN], [0.9, 0.6, NAN], [0.7, 0.8, 1.0]])
    assert inc.forgetting(rising_then_falling) == pytest.approx(((0.9 - 0.7) + (0.6 - 0.8)) / 2)
    only_better = np.array([[0.5, NAN], [0.8, 1.0]])
    assert inc.forgetting(only_better) == pytest.approx(-0.3)
    assert inc.bwt(only_better) == pytest.approx(0.3)


def test_forgetting_against_the_formula_written_as_loops():
    generator = np.random.default_rng(5)
    for num_tasks in (2, 3, 7):
        a = np.tril(generator.uniform(size=(num_tasks, num_tasks)))
        a[np.triu_indices(num_tasks, 1)] = NAN
        total = 0.0
        for j in range(num_tasks - 1):
            total += max(a[m, j] for m in range(j, num_tasks - 1)) - a[num_tasks - 1, j]
        assert inc.forgetting(a) == pytest.approx(total / (num_tasks - 1))


def test_single_task_has_no_forgetting():
    single = np.array([[0.75]])
    assert inc.forgetting(single) is None
    assert inc.forgetting_av_cil(single) is None
    assert inc.bwt(single) is None
    assert inc.task_mean(single) == 0.75


def test_ties_go_to_the_lowest_index():
    flat = Predictions(
        clip_ids=["1", "2"],
        labels=[("a",), ("b",)],
        class_names=("b", "a"),
        task_sizes=(2,),
        scores=[{modality: np.zeros((2, 2)) for modality in MODALITIES}],
    )
    assert inc.predicted_classes(flat, 0, "audio").tolist() == [0, 0]
    assert inc.accuracy_matrix(flat, "audio").tolist() == [[0.5]]


def test_task_without_test_clips_is_left_out_of_the_means(by_hand):
    keep = [i for i, labels in enumerate(by_hand.labels) if labels != ("c",)]
    without = Predictions(
        clip_ids=[by_hand.clip_ids[i] for i in keep],
        labels=[by_hand.labels[i] for i in keep],
        class_names=by_hand.class_names,
        task_sizes=by_hand.task_sizes,
        scores=[{r: s[keep] for r, s in scores.items()} for scores in by_hand.scores],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = inc.summarise(without)["audio"]
    assert summary["matrix"][2] == [pytest.approx(200 / 3), None, 100.0]
    assert summary["num_test"] == [[3, None, None], [3, 0, None], [3, 0, 1]]
    assert summary["task_mean"] == pytest.approx((200 / 3 + 100) / 2)
    assert summary["forgetting"] == pytest.approx(100 / 3)


@pytest.mark.parametrize("labels", [[], [("stranger",)] * 3])
def test_no_clip_of_the_run_at_all(labels):
    empty = Predictions(
        clip_ids=[str(i) for i in range(len(labels))],
        labels=labels,
        class_names=("a", "b"),
        task_sizes=(1, 1),
        scores=[one_hot([0] * len(labels), 1), one_hot([0] * len(labels), 2)],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = inc.summarise(empty)["audio_visual"]
    assert summary["matrix"] == [[None, None], [None, None]]
    assert {summary[n] for n in ("last", "average", "task_mean", "forgetting", "bwt")} == {None}
    json.dumps(summary, allow_nan=False)


def test_one_class_and_no_task_done():
    one = Predictions(clip_ids=["1"], labels=[("a",)], class_names=("a",), task_sizes=(1,))
    assert inc.summarise(one)["audio"]["last"] is None
    one.add_task(one_hot([0], 1))
    summary = inc.summarise(one)["audio"]
    assert (summary["last"], summary["forgetting"]) == (100.0, None)


def test_run_in_progress_counts_the_tasks_done(by_hand):
    by_hand.scores.pop()
    summary = inc.summarise(by_hand)["audio"]
    assert summary["matrix"] == [[100.0, None], [pytest.approx(100 / 3), 100.0]]
    assert summary["last"] == pytest.approx(60.0)
    assert summary["num_test"] == [[3, None], [3, 2]]


def test_random_predictions_against_plain_loops():
    generator = np.random.default_rng(0)
    names = tuple(f"class {i}" for i in generator.permutation(7))
    sizes, num_clips = (3, 2, 2), 150
    labels = [(f"class {generator.integers(9)}",) for _ in range(num_clips)]
    scores = [
        {r: generator.normal(size=(num_clips, n)) for r in MODALITIES} for n in np.cumsum(sizes)
    ]
    predictions = Predictions(
        clip_ids=[str(i) for i in range(num_clips)],
        labels=labels,
        class_names=names,
        task_sizes=sizes,
        scores=scores,
    )
    groups = [names[:3], names[3:5], names[5:]]
    for modality in MODALITIES:
        matrix = inc.accuracy_matrix(predictions, modality)
        seen = inc.seen_accuracy(predictions, modality)
        for k in range(3):
            all_right = all_clips = 0
            for j in range(k + 1):
                right = clips = 0
                for i in range(num_clips):
                    if labels[i][0] in groups[j]:
                        clips += 1
                        right += names[int(np.argmax(scores[k][modality][i]))] == labels[i][0]
                assert clips > 0
                assert matrix[k, j] == pytest.approx(right / clips)
                all_right, all_clips = all_right + right, all_clips + clips
            assert seen[k] == pytest.approx(all_right / all_clips)
        recall = inc.class_recall(predictions, modality)
        for c, name in enumerate(names):
            rows = [i for i in range(num_clips) if labels[i][0] == name]
            expected = np.mean([np.argmax(scores[2][modality][i]) == c for i in rows])
            assert recall[c] == pytest.approx(expected)


def test_order_of_test_clips_does_not_matter(by_hand):
    order = [6, 2, 4, 0, 1, 5, 3]
    shuffled = Predictions(
        clip_ids=[by_hand.clip_ids[i] for i in order],
        labels=[by_hand.labels[i] for i in order],
        class_names=by_hand.class_names,
        task_sizes=by_hand.task_sizes,
        scores=[{r: s[order] for r, s in scores.items()} for scores in by_hand.scores],
    )
    assert inc.summarise(shuffled) == inc.summarise(by_hand)


# Several labels per clip


@pytest.mark.parametrize("levels", [1000, 4, 1])
def test_average_precision_is_scikit_learns(levels):
    generator = np.random.default_rng(levels)
    scores = generator.integers(levels, size=(80, 6)).astype(np.float32)  # few levels: many ties
    targets = generator.uniform(size=(80, 6)) < [0.5, 0.3, 0.1, 0.05, 0.9, 0.0]
    targets[0, :5] = True
    ours = inc.average_precisions(scores, targets)
    theirs = [average_precision_score(targets[:, c], scores[:, c]) for c in range(5)]
    np.testing.assert_allclose(ours[:5], theirs, rtol=1e-12)
    assert np.isnan(ours[5])


@pytest.fixture
def duets():
    generator = np.random.default_rng(3)
    names = ("a", "b", "c", "d", "e")
    sizes, num_clips = (2, 2, 1), 60
    labels = []
    for _ in range(num_clips):
        chosen = generator.choice(
            [*names, "stranger"], size=generator.integers(1, 3), replace=False
        )
        labels.append(tuple(map(str, chosen)))
    return Predictions(
        clip_ids=[str(i) for i in range(num_clips)],
        labels=labels,
        class_names=names,
        task_sizes=sizes,
        scores=[
            {r: generator.normal(size=(num_clips, n)) for r in MODALITIES} for n in np.cumsum(sizes)
        ],
    )


def test_multi_label_matrix_is_mean_average_precision(duets):
    assert inc.is_multi_label(duets)
    groups = [["a", "b"], ["c", "d"], ["e"]]
    for modality in MODALITIES:
        matrix = inc.accuracy_matrix(duets, modality)
        seen = inc.seen_accuracy(duets, modality)
        for k in range(3):
            known = [name for group in groups[: k + 1] for name in group]
            rows = [i for i, names in enumerate(duets.labels) if set(names) & set(known)]
            assert 0 < len(rows) < duets.num_clips
            precisions = {}
            for c, name in enumerate(known):
                targets = [name in duets.labels[i] for i in rows]
                scores = duets.scores[k][modality][rows, c]
                precisions[name] = average_precision_score(targets, scores)
            for j in range(k + 1):
                expected = np.mean([precisions[name] for name in groups[j]])
                assert matrix[k, j] == pytest.approx(expected)
            assert seen[k] == pytest.approx(np.mean(list(precisions.values())))
    assert inc.summarise(duets)["audio"]["measure"] == "map"


def test_a_clip_comes_with_the_later_of_its_tasks(duets):
    tasks = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2, "stranger": -1}
    expected = [max(tasks[name] for name in names) for names in duets.labels]
    assert inc.clip_tasks(duets).tolist() == expected
    assert -1 in expected
    assert inc.num_test(duets).tolist() == [expected.count(k) for k in range(3)]


def test_two_labels_of_which_one_is_taught_stay_single_label():
    predictions = Predictions(
        clip_ids=["1"],
        labels=[("a", "stranger")],
        class_names=("a", "b"),
        task_sizes=(2,),
        scores=[one_hot([0], 2)],
    )
    assert not inc.is_multi_label(predictions)
    assert inc.accuracy_matrix(predictions, "audio").tolist() == [[1.0]]


def test_every_printed_number_has_its_formula(by_hand):
    printed = set(inc.summarise(by_hand)["audio"]) - {"measure", "num_test"}
    assert printed <= set(inc.DEFINITIONS)
    assert json.loads(json.dumps(inc.summarise(by_hand), allow_nan=False))
