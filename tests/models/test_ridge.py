import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cign.networks.ridge import RandomFeatures, RidgeStatistics, solve_ridge
from refusals import run_error


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clips(num=120, width=40, num_classes=6, seed=0):
    rng = np.random.default_rng(seed)
    features = np.maximum(rng.normal(size=(num, width)), 0)
    labels = np.sort(rng.integers(0, num_classes, num))
    return features, labels, np.eye(num_classes)[labels]


def test_random_features_are_the_formula():
    torch.manual_seed(0)
    module = RandomFeatures(5, 7, seed=3)
    x = torch.randn(4, 5, dtype=torch.float64)
    projection = module.projection.double().numpy()
    for row, got in zip(x.numpy(), module(x).numpy(), strict=True):
        normal = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
        np.testing.assert_allclose(got, np.maximum(projection @ normal, 0), atol=1e-12)
    assert module(torch.zeros(1, 5)).abs().sum() == 0  # a missing modality adds nothing
    assert np.isclose(RandomFeatures(200, 3000, seed=0).projection.var(), 1 / 200, rtol=0.01)


def test_projection_depends_on_seed_and_number_alone():
    torch.manual_seed(1)
    one = RandomFeatures(5, 7, seed=3).projection
    torch.manual_seed(2)
    assert torch.equal(one, RandomFeatures(5, 7, seed=3).projection)
    assert not torch.equal(one, RandomFeatures(5, 7, seed=4).projection)
    assert not torch.equal(one, RandomFeatures(5, 7, seed=3, number=1).projection)


@pytest.mark.parametrize("ridge", [0.1, 10.0])
@pytest.mark.parametrize("class_order", [[0, 1, 2, 3, 4, 5], [5, 2, 0, 4, 1, 3]])
@pytest.mark.parametrize("num_tasks", [1, 2, 3, 6])
def test_tasks_in_any_order_give_the_batch_solution(ridge, class_order, num_tasks):
    features, labels, targets = clips()
    expected = Ridge(alpha=ridge, fit_intercept=False, solver="svd").fit(features, targets).coef_
    sums = RidgeStatistics(features.shape[1], torch.float64)
    size = 6 // num_tasks
    for task in range(num_tasks):
        sums.grow(size)
        known = class_order[: (task + 1) * size]
        rows = np.flatnonzero(np.isin(labels, class_order[task * size : (task + 1) * size]))
        for some in np.array_split(rows, 3):
            sums.absorb(torch.from_numpy(features[some]), torch.from_numpy(targets[some][:, known]))
    solution = solve_ridge(sums.gram, sums.cross, ridge, "test").numpy()
    np.testing.assert_allclose(solution, expected.T[:, class_order], rtol=1e-6, atol=1e-9)


def test_drift_of_float32_sums_is_small_and_that_of_float64_sums_is_none():
    """2,000 clips in 40 parts; the strength is that of the default options."""
    features, _, targets = clips(num=2000, width=300, num_classes=20)
    expected = np.linalg.solve(features.T @ features + 100 * np.eye(300), features.T @ targets)
    drift = {}
    for dtype in (torch.float32, torch.float64):
        sums = RidgeStatistics(300, dtype)
        sums.grow(20)
        for some in np.array_split(np.arange(2000), 40):
            sums.absorb(torch.from_numpy(features[some]), torch.from_numpy(targets[some]))
        got = solve_ridge(sums.gram, sums.cross, 100.0, "test").numpy()
        drift[dtype] = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert drift[torch.float64] < 1e-11
    assert 1e-9 < drift[torch.float32] < 1e-4


@pytest.mark.parametrize(
    ("gram", "ridge"),
    [
        (torch.ones(4, 4), 0.0),  # rank 1
        (torch.zeros(4, 4), 0.0),
        (torch.full((4, 4), torch.nan), 1.0),
        (torch.full((4, 4), torch.inf), 1.0),
        (torch.diag(torch.tensor([1e20, 1.0, 1.0, 1.0])), 1e-6),  # lost in rounding
    ],
)
def test_singular_systems_are_refused_with_a_remedy(gram, ridge):
    before = gram.clone()
    with run_error("singular", "modality audio"):
        solve_ridge(gram, torch.ones(4, 2), ridge, "modality audio")
    assert torch.equal(gram.nan_to_num(), before.nan_to_num())


def test_zero_ridge_solves_what_is_not_singular():
    features, _, targets = clips()
    expected = np.linalg.lstsq(features, targets, rcond=None)[0]
    gram, cross = (torch.from_numpy(features.T @ other) for other in (features, targets))
    np.testing.assert_allclose(solve_ridge(gram, cross, 0.0, "test").numpy(), expected, atol=1e-9)
