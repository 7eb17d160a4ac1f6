"""Unknown scores against SciPy and scikit-learn, and by their definitions."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import logsumexp, softmax
from sklearn.covariance import EmpiricalCovariance
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from cign.open_set.scores import (
    Leverage,
    Mahalanobis,
    disagreement,
    energy,
    joint_energy,
    margin,
    max_logit,
    max_probability,
)


@pytest.fixture
def logits():
    return torch.from_numpy(np.random.default_rng(0).normal(0, 4, (20, 7)))


def test_scores_of_logits_are_scipys(logits):
    z = logits.numpy()
    p = softmax(z, axis=1).max(axis=1)
    assert np.allclose(max_probability(logits.softmax(1)), 1 - p, atol=1e-12)
    assert np.allclose(margin(logits), np.log((1 - p) / p), atol=1e-9)
    assert np.allclose(energy(logits), -logsumexp(z, axis=1), atol=1e-12)
    assert np.allclose(joint_energy(logits), -np.logaddexp(0, z).sum(axis=1), atol=1e-10)
    assert np.allclose(max_logit(logits), -z.max(axis=1))


def test_margin_orders_clips_whose_probability_rounds_to_one():
    sure, surer = torch.tensor([[60.0, 0.0]]), torch.tensor([[80.0, 0.0]])
    assert max_probability(sure.softmax(1)) == max_probability(surer.softmax(1)) == 0
    assert margin(sure) > margin(surer)
    assert margin(torch.tensor([[3.0], [-2.0]])).tolist() == [0, 0]


def test_disagreement_is_scipys_divergence():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(6), 12), rng.dirichlet(np.ones(6), 12)
    found = disagreement(torch.from_numpy(p), torch.from_numpy(3 * q))  # normalised itself
    assert np.allclose(found, jensenshannon(p, q, axis=1, base=2) ** 2, atol=1e-12)
    one, other = torch.eye(2)
    assert disagreement(one, other) == 1
    assert disagreement(one, one) == 0


def test_leverage_is_the_variance_of_a_gaussian_process():
    rng = np.random.default_rng(2)
    seen, new, ridge = rng.normal(size=(50, 8)), rng.normal(size=(9, 8)), 3.0
    process = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=ridge, optimizer=None)
    _, spread = process.fit(seen, np.zeros(50)).predict(new, return_std=True)
    gram = torch.from_numpy(seen.T @ seen)
    found = Leverage(gram, ridge)(torch.from_numpy(new))
    # The variance is ridge * f^T (G + ridge I)^-1 f.
    assert np.allclose(ridge * found, spread**2, rtol=1e-5)


def test_leverage_falls_where_clips_were_seen_and_needs_no_full_rank():
    gram = torch.diag(torch.tensor([100.0, 0.0], dtype=torch.float64))
    seen, unseen = Leverage(gram, 1.0)(torch.eye(2))
    assert seen == pytest.approx(1 / 101)
    assert unseen == pytest.approx(1.0)
    assert torch.isfinite(Leverage(gram, 0.0)(torch.eye(2))).all()


def test_mahalanobis_is_scikit_learns_with_means_and_scatter_from_sums():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), [20, 10, 40])
    x = rng.normal(size=(70, 5)) + 3 * rng.normal(size=(3, 5))[labels]
    new = rng.normal(0, 2, (11, 5))
    y = np.eye(3)[labels]
    sums = (x.T @ x, x.T @ y, y.sum(axis=0))
    found = Mahalanobis(*(torch.from_numpy(one) for one in sums), ridge=1e-9)(torch.from_numpy(new))
    centred = x - np.stack([x[labels == c].mean(axis=0) for c in range(3)])[labels]
    fitted = EmpiricalCovariance(assume_centered=True).fit(centred)
    for c in range(3):
        wanted = fitted.mahalanobis(new - x[labels == c].mean(axis=0)) / len(x)
        assert np.allclose(found[:, c], wanted, rtol=1e-3)
