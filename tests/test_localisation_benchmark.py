"""Hits worked out by hand; maps that know nothing hit as often as counting says."""

import math

import numpy as np
import pytest

from benchmark_scripts import script

_SCRIPT = script("localisation")
Localisation = _SCRIPT.Localisation
localise_moments, localise_patches = _SCRIPT.localise_moments, _SCRIPT.localise_patches

GRID = (2, 4)  # centres at x = 1/8, 3/8, 5/8, 7/8 and y = 1/4, 3/4


def one_hot(*places, size=8):
    return np.eye(size)[list(places)]


def test_a_hit_is_the_centre_of_the_strongest_patch_in_the_box():
    box = np.array([[0.5, 0.0, 0.8, 0.5]])  # holds the centre of patch 2 alone
    hits = [localise_patches(one_hot(p), box, GRID).hits[0] for p in range(8)]
    assert hits == [False, False, True, False, False, False, False, False]
    edge = np.array([[0.625, 0.25, 0.9, 0.9]])  # a centre on the edge is in
    assert localise_patches(one_hot(2), edge, GRID).hits[0]
    beside = np.array([[0.626, 0.25, 0.9, 0.9]])
    assert not localise_patches(one_hot(2), beside, GRID).hits[0]


def test_maps_that_know_nothing():
    boxes = np.array([[0.3, 0.0, 0.7, 0.5], [0.0, 0.0, 1.0, 1.0], [0.8, 0.8, 0.9, 0.9]])
    found = localise_patches(one_hot(0, 0, 0), boxes, GRID)
    assert found.random.tolist() == [2 / 8, 1.0, 0.0]
    # Four patches are equally near to the centre: 1, 2, 5 and 6; the first box holds 1 and 2.
    assert found.centre.tolist() == [2 / 4, 1.0, 0.0]
    assert found.hits.tolist() == [False, True, False]
    rates = found.rates()
    assert rates["hit"] == pytest.approx(100 / 3)
    assert rates["random"] == pytest.approx(100 * (2 / 8 + 1) / 3)


def test_random_maps_hit_as_often_as_the_share_of_patches_says():
    rng = np.random.default_rng(0)
    corners = rng.random((4000, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    found = localise_patches(rng.random((4000, 36)), boxes, (6, 6))
    assert abs(found.hits.mean() - found.random.mean()) < 3 * math.sqrt(0.25 / 4000)


def test_moments():
    maps = one_hot(0, 1, 3, size=4)  # middles of four tokens over 2 s: 0.25, 0.75, 1.25, 1.75
    intervals = np.array([[0.2, 0.3], [0.2, 0.7], [1.0, 2.0]])
    found = localise_moments(maps, intervals, 2.0)
    assert found.hits.tolist() == [True, False, True]
    assert found.random.tolist() == [0.25, 0.25, 0.5]
    assert found.centre.tolist() == [0.0, 0.0, 0.5]


def test_no_maps_have_no_rate_and_wrong_shapes_are_refused():
    nothing = Localisation(hits=np.zeros(0, bool), centre=np.zeros(0), random=np.zeros(0))
    assert all(math.isnan(value) for value in nothing.rates().values())
    with pytest.raises(ValueError, match="do not fit"):
        localise_patches(np.zeros((1, 9)), np.zeros((1, 4)), GRID)


def test_trap_16_a_map_of_the_centre_gains_nothing_over_the_centre():
    rng = np.random.default_rng(1)
    middle = 0.5 + 0.15 * rng.normal(size=(500, 2))  # objects sit about the middle
    boxes = np.concatenate([middle - 0.2, middle + 0.2], axis=1)
    rows, columns = np.divmod(np.arange(36), 6)
    closeness = -np.hypot(rows - 2.4, columns - 2.4)  # patch (2, 2) is the strongest
    rates = localise_patches(np.tile(closeness, (500, 1)), boxes, (6, 6)).rates()
    assert set(rates) == {"hit", "centre", "random"}
    assert rates["hit"] > rates["random"] + 30  # looks like skill, and is none
    assert abs(rates["hit"] - rates["centre"]) < 5
