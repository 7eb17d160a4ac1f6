"""Confidence intervals of the difference between two methods.

Within a store, the numbers of all class orders and seeds are averaged. The bootstrap draws stores
with replacement and, within each drawn store, its test clips; the interval ranges from the 2.5th
to the 97.5th percentile of the mean difference over 10,000 draws. With five stores a bootstrap over
stores is too narrow, so Student's t interval over the stores' differences is computed too, and the
wider of the two is reported. With one store only clips can be drawn, and there is no t interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cign.bench.resampling import NUM_DRAWS
from cign.utils.seeding import stream

Floats = npt.NDArray[np.floating[Any]]

LEVEL = 0.95
BOOTSTRAP, STUDENT_T = "bootstrap", "student_t"
_KEY = 0x5704E


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of M numbers.

    Attributes:
        low: Shape [M]; NaN where undefined.
        high: Shape [M].
        kinds: For each number ``bootstrap`` or ``student_t``, whichever was wider.
        p_values: Two-sided p-values of a number of 0, the larger of both kinds; shape [M].
    """

    low: Floats
    high: Floats
    kinds: tuple[str, ...]
    p_values: Floats


def paired_intervals(
    differences_SM: Floats, resampled_SMR: Sequence[Floats], num_draws: int = NUM_DRAWS
) -> Intervals:
    """Intervals of the mean difference over stores.

    Args:
        differences_SM: M differences as observed in each of S stores.
        resampled_SMR: For each store, the same differences on R draws of its clips, [M, R].
        num_draws: Number of draws of stores, with their clips.

    Returns:
        The wider of bootstrap and Student's t interval, at 95 %.
    """
    draws = bootstrap_draws(resampled_SMR, num_draws)
    low, high = _percentiles(draws)
    p_values = bootstrap_p_values(draws)
    kinds = [BOOTSTRAP] * len(low)
    if len(differences_SM) > 1:
        t_low, t_high = student_t_interval(differences_SM)
        wider = t_high - t_low > high - low
        low, high = np.where(wider, t_low, low), np.where(wider, t_high, high)
        kinds = [STUDENT_T if is_t else BOOTSTRAP for is_t in wider]
        p_values = np.fmax(p_values, student_t_p_values(differences_SM))
    undefined = np.isnan(differences_SM).any(axis=0)
    low, high = np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)
    p_values = np.where(undefined, np.nan, p_values)
    return Intervals(low=low, high=high, kinds=tuple(kinds), p_values=p_values)


def bootstrap_draws(resampled_SMR: Sequence[Floats], num_draws: int = NUM_DRAWS) -> Floats:
    """Mean difference on draws of stores and, within them, of clips.

    A store's draws of clips are shuffled for each position in the draw, so that a store drawn
    twice contributes different clips.

    Args:
        resampled_SMR: See `paired_intervals`.
        num_draws: Number of draws of stores.

    Returns:
        Shape [M, num_draws]; of a single store the draws of its clips, [M, R].
    """
    num_stores = len(resampled_SMR)
    if num_stores == 1:
        return np.asarray(resampled_SMR[0], dtype=np.float64)
    rng = stream(num_stores, num_draws, _KEY)
    chosen = rng.integers(num_stores, size=(num_stores, num_draws))  # [place, draw]
    total = np.zeros((resampled_SMR[0].shape[0], num_draws))
    for place in chosen:
        for store, values_MR in enumerate(resampled_SMR):
            draws = np.flatnonzero(place == store)
            clips = rng.permutation(values_MR.shape[1])
            total[:, draws] += values_MR[:, clips[draws % len(clips)]]
    return total / num_stores


def bootstrap_p_values(draws_MR: Floats) -> Floats:
    """Two-sided p-values of a mean of 0 from draws, shape [M]: at least 2 / (R + 1).

    It is below 0.05 where the percentile interval excludes 0, up to the number of draws.
    """
    p_values = np.full(len(draws_MR), np.nan)
    for i, values in enumerate(draws_MR):
        known = values[~np.isnan(values)]
        if len(known):
            fewer = min((known <= 0).sum(), (known >= 0).sum())
            p_values[i] = min(1.0, 2 * (fewer + 1) / (len(known) + 1))
    return p_values


def student_t_p_values(differences_SM: Floats) -> Floats:
    """Two-sided p-values of Student's t test of a mean of 0 over stores, shape [M]."""
    from scipy.stats import t

    num_stores = len(differences_SM)
    mean, spread = differences_SM.mean(axis=0), differences_SM.std(axis=0, ddof=1)
    same = (differences_SM == differences_SM[0]).all(axis=0)  # no spread, and so no t
    statistic = np.abs(mean) * np.sqrt(num_stores) / np.where(same, 1.0, spread)
    without_spread = np.where(differences_SM[0] == 0, 1.0, 0.0)
    return np.where(same, without_spread, 2 * t.sf(statistic, num_stores - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979).

    At any level the differences below it are all true with the probability of one minus the level.
    """
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = float(largest)
    return corrected


def student_t_interval(differences_SM: Floats) -> tuple[Floats, Floats]:
    """Mean +- t(0.975, S - 1) * sd / sqrt(S) over stores; low and high, each of shape [M]."""
    from scipy.stats import t

    num_stores = len(differences_SM)
    half = t.ppf((1 + LEVEL) / 2, num_stores - 1) / np.sqrt(num_stores)
    half = half * differences_SM.std(axis=0, ddof=1)
    mean = differences_SM.mean(axis=0)
    return mean - half, mean + half


def _percentiles(values_MR: Floats) -> tuple[Floats, Floats]:
    """The central 95 % of each row; draws in which a number is undefined are ignored."""
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.full((2, len(values_MR)), np.nan)
    for i, values in enumerate(values_MR):
        known = values[~np.isnan(values)]
        if len(known):
            low[i], high[i] = np.quantile(known, ends)
    return low, high
