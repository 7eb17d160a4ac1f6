"""Intervals against a loop that draws one thing after another, scipy, and their own promise."""

import numpy as np
import pytest
from scipy import stats

from cign.bench.intervals import (
    bootstrap_draws,
    bootstrap_p_values,
    holm,
    paired_intervals,
    student_t_interval,
    student_t_p_values,
)


def clips_of(rng, num_stores, num_clips, num_numbers=1):
    """Per-clip differences of a pair of methods: a list of [clips, numbers]."""
    centres = rng.normal(2, 3, size=num_stores)
    return [centre + rng.normal(0, 15, size=(num_clips, num_numbers)) for centre in centres]


def resample(rng, clips, num_draws):
    """Means over clips drawn with replacement, shape [numbers, draws]."""
    drawn = rng.integers(len(clips), size=(num_draws, len(clips)))
    return clips[drawn].mean(axis=1).T


def plain_bootstrap(rng, stores, num_draws):
    """Stores, and inside them clips, drawn one by one."""
    means = []
    for _ in range(num_draws):
        total = 0.0
        for _ in stores:
            clips = stores[rng.integers(len(stores))][:, 0]
            total += rng.choice(clips, size=len(clips), replace=True).mean()
        means.append(total / len(stores))
    return np.quantile(means, [0.025, 0.975])


@pytest.mark.parametrize("num_stores", [1, 2, 5])
def test_bootstrap_agrees_with_a_plain_loop(num_stores):
    rng = np.random.default_rng(num_stores)
    stores = clips_of(rng, num_stores, 40)
    draws = [resample(rng, clips, 6000) for clips in stores]
    found = np.quantile(bootstrap_draws(draws, 6000)[0], [0.025, 0.975])
    expected = plain_bootstrap(rng, stores, 6000)
    width = expected[1] - expected[0]
    # Quantiles of 6,000 draws are uncertain by about a hundredth of the width.
    np.testing.assert_allclose(found, expected, atol=0.05 * width)


def test_student_t_is_scipys():
    differences = np.random.default_rng(0).normal(1, 2, size=(5, 9))
    low, high = student_t_interval(differences)
    for i, column in enumerate(differences.T):
        wanted = stats.t.interval(0.95, 4, loc=column.mean(), scale=stats.sem(column))
        np.testing.assert_allclose((low[i], high[i]), wanted)
    half = 2.776 * differences.std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose((high - low) / 2, half, rtol=1e-3)


def test_the_wider_interval_is_given():
    rng = np.random.default_rng(3)
    far_apart, noisy_clips = np.array([[0.0], [4.0], [8.0]]), np.array([[1.0], [1.1], [1.2]])
    draws = rng.normal(0, 1, size=(3, 1, 2000))
    found = paired_intervals(far_apart, list(far_apart[:, :, None] + 0.01 * draws), 2000)
    assert found.kinds == ("student_t",)
    np.testing.assert_allclose((found.low, found.high), student_t_interval(far_apart))
    found = paired_intervals(noisy_clips, list(noisy_clips[:, :, None] + 5 * draws), 2000)
    assert found.kinds == ("bootstrap",)
    assert found.high[0] - found.low[0] > 5


def test_one_store_has_clips_only():
    draws = np.random.default_rng(1).normal(3, 1, size=(2, 10_000))
    found = paired_intervals(np.array([[3.0, 3.0]]), [draws])
    assert found.kinds == ("bootstrap", "bootstrap")
    np.testing.assert_allclose(found.low, 3 - 1.96, atol=0.06)
    np.testing.assert_allclose(found.high, 3 + 1.96, atol=0.06)


def test_undefined_numbers_have_no_interval():
    draws = np.random.default_rng(1).normal(size=(2, 2, 500))
    draws[:, 1] = np.nan
    differences = np.array([[1.0, np.nan], [2.0, np.nan]])
    found = paired_intervals(differences, list(draws), 500)
    assert np.isnan([found.low[1], found.high[1]]).all()
    assert np.isfinite([found.low[0], found.high[0]]).all()
    draws[0, 0, :3] = np.nan  # a few draws in which a number was not defined
    assert np.isfinite(paired_intervals(differences, list(draws), 500).low[0])


def test_identical_methods_differ_by_nothing():
    found = paired_intervals(np.zeros((3, 2)), [np.zeros((2, 100))] * 3, 100)
    assert (found.low == 0).all()
    assert (found.high == 0).all()


@pytest.mark.parametrize("clip_spread", [0.5, 6.0])
def test_the_true_difference_is_inside_as_often_as_promised(clip_spread):
    """Five worlds, differences normal over worlds, as the table has them."""
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(300):
        true = 1.5 + 2.0 * rng.normal(size=5)
        observed = true + clip_spread * rng.normal(size=5)
        draws = observed[:, None, None] + clip_spread * rng.normal(size=(5, 1, 400))
        found = paired_intervals(observed[:, None], list(draws), 400)
        hits += found.low[0] <= 1.5 <= found.high[0]
    assert hits / 300 >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 300)


def test_p_values_of_student_are_those_of_scipy_and_of_the_interval():
    rng = np.random.default_rng(0)
    for shift in (0.0, 1.0, 3.0):
        values = rng.normal(shift, 1.0, size=(5, 1))
        (found,) = student_t_p_values(values)
        assert found == pytest.approx(stats.ttest_1samp(values[:, 0], 0.0).pvalue)
        low, high = student_t_interval(values)
        assert (found < 0.05) == (low[0] > 0 or high[0] < 0)
    same = np.array([[2.0, 0.0]] * 5)
    assert student_t_p_values(same).tolist() == [0.0, 1.0]


def test_p_values_of_the_bootstrap_agree_with_its_interval():
    rng = np.random.default_rng(1)
    for shift in (0.0, 1.9, 2.0, 2.3, 6.0):
        draws = rng.normal(shift, 1.0, size=(1, 20_000))
        (found,) = bootstrap_p_values(draws)
        assert found == pytest.approx(2 * stats.norm.sf(shift), rel=0.15, abs=2e-4)
        low, high = np.quantile(draws[0], [0.025, 0.975])
        assert (found < 0.05) == (low > 0 or high < 0)
    assert bootstrap_p_values(np.zeros((1, 100)))[0] == 1.0
    assert np.isnan(bootstrap_p_values(np.full((1, 100), np.nan))[0])


def test_the_larger_p_value_is_reported():
    rng = np.random.default_rng(2)
    stores = clips_of(rng, 5, 40)
    draws = [resample(rng, clips, 2000) for clips in stores]
    observed = np.array([clips.mean(axis=0) for clips in stores])
    found = paired_intervals(observed, draws, 2000)
    both = [bootstrap_p_values(bootstrap_draws(draws, 2000)), student_t_p_values(observed)]
    assert found.p_values.tolist() == np.max(both, axis=0).tolist()


def test_holm_agrees_with_its_definition():
    # The example of Holm's procedure with four hypotheses: each p-value times the number of those
    # that are not smaller, and never less than that of a smaller one.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    rng = np.random.default_rng(3)
    for _ in range(50):
        p = rng.uniform(0, 0.1, size=7)
        corrected = holm(p.tolist())
        # Step-down: reject in ascending order until the first that fails.
        rejected = set()
        for place, i in enumerate(np.argsort(p)):
            if p[i] > 0.05 / (7 - place):
                break
            rejected.add(i)
        assert {i for i, value in enumerate(corrected) if value <= 0.05} == rejected
