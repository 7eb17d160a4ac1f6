"""Numbers on resampled clips are those that the metrics give for the drawn clips, written out."""

import numpy as np
import pytest

from cign.bench.resampling import METRICS, NUMBERS, clip_counts, resampled_numbers
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES

LIST_HASH = "0123456789abcdef" * 4


def draw(multi_label=False, num_tasks=3, num_classes=6, per_class=9, seed=0):
    rng = np.random.default_rng(seed)
    names = tuple(f"class {c}" for c in range(num_classes))
    labels = []
    for i in range(num_classes * per_class):
        others = [names[(i + 2) % num_classes]] if multi_label and i % 3 else []
        labels.append((names[i % num_classes], *others))
    labels += [("stranger",)] * 4
    shows = np.array([[name in clip for name in names] for clip in labels])
    predictions = Predictions(
        clip_ids=[f"clip {i}" for i in range(len(labels))],
        labels=labels,
        class_names=names,
        task_sizes=(num_classes // num_tasks,) * num_tasks,
    )
    for task in range(num_tasks):
        num_seen = predictions.num_seen(task)
        scores = {}
        for i, modality in enumerate(MODALITIES):
            noise = rng.gumbel(size=(len(labels), num_seen))
            scores[modality] = np.round(shows[:, :num_seen] * (1 + i) + noise, 1)  # some are equal
        predictions.add_task(scores)
    return predictions


def written_out(predictions, counts):
    """The same predictions with each clip as often as it was drawn."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return Predictions(
        clip_ids=[f"{row} {i}" for i, row in enumerate(rows)],
        labels=[predictions.labels[row] for row in rows],
        class_names=predictions.class_names,
        task_sizes=predictions.task_sizes,
        scores=[{r: one[r][rows] for r in MODALITIES} for one in predictions.scores],
    )


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_every_number_of_every_draw_is_that_of_the_drawn_clips(multi_label, num_tasks):
    predictions = draw(multi_label, num_tasks)
    num_clips = predictions.num_clips - 4  # strangers are neither scored nor drawn
    found = resampled_numbers(predictions, LIST_HASH, num_draws=12)
    (counts_NR,) = clip_counts(num_clips, 12, int(LIST_HASH[:16], 16))
    assert (counts_NR.sum(axis=0) == num_clips).all()
    for draw_number in range(12):
        drawn = written_out(predictions, counts_NR[:, draw_number].astype(int))
        summary = summarise(drawn)
        wanted = [summary[r][m] for m in METRICS for r in MODALITIES]
        wanted = [np.nan if value is None else value for value in wanted]
        np.testing.assert_allclose(found[:, draw_number], wanted, rtol=1e-5)
    assert np.isnan(found[6:]).all() == (num_tasks == 1)


def test_the_spread_of_accuracy_is_the_binomial_one():
    predictions = draw(per_class=50)
    found = resampled_numbers(predictions, LIST_HASH, num_draws=4000)
    share = summarise(predictions)["visual"]["last"] / 100
    expected = 100 * np.sqrt(share * (1 - share) / 300)
    assert found[NUMBERS.index("last_visual")].std() == pytest.approx(expected, rel=0.05)
    assert found[NUMBERS.index("last_visual")].mean() == pytest.approx(100 * share, abs=0.2)


def test_runs_on_the_same_clips_see_the_same_draws():
    one, other = draw(seed=1), draw(seed=1)
    first = resampled_numbers(one, LIST_HASH, num_draws=50)
    np.testing.assert_array_equal(first, resampled_numbers(other, LIST_HASH, num_draws=50))
    assert not np.array_equal(first, resampled_numbers(other, "ff" * 32, num_draws=50))
    # The class order of a run changes nothing about which clips are drawn.
    many = np.concatenate(list(clip_counts(7, 600, 3)), axis=1)
    few = np.concatenate(list(clip_counts(7, 100, 3)), axis=1)
    assert many.shape == (7, 600)
    np.testing.assert_array_equal(many[:, :100].sum(axis=0), few.sum(axis=0))


def test_a_task_without_test_clips_is_left_out():
    predictions = draw()
    kept = [i for i, clip in enumerate(predictions.labels) if clip[0] not in ("class 2", "class 3")]
    fewer = written_out(predictions, np.isin(np.arange(predictions.num_clips), kept).astype(int))
    found = resampled_numbers(fewer, LIST_HASH, num_draws=20)
    assert np.isfinite(found).all()
