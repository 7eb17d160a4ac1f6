"""Unknown scores against SciPy and scikit-learn, and by their definitions."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from cign.open_set.scores import (
    Leverage,
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
    assert np.allclose(max_logit(logits), -z.max(axis=1))


def test_margin_orders_clips_whose_probability_rounds_to_one():
    sure, surer = torch.tensor([[60.0, 0.0]]), torch.tensor([[80.0, 0.0]])
    assert max_probability(sure.softmax(1)) == max_probability(surer.softmax(1)) == 0
    assert margin(sure) > margin(surer)
    assert margin(torch.tensor([[3.0], [-2.0]])).tolist() == [0, 0]


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
