"""Token statistics and assignment against plain loops and scikit-learn in float64."""

import math
import threading

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cign.layers import rounding
from cign.layers.rounding import plain_products, rounded_products
from cign.networks.ridge import RandomFeatures, solve_ridge
from cign.networks.token_ridge import TokenStatistics, assign_tokens

B, N, C, W = 7, 5, 3, 6


def problem(seed=0):
    rng = np.random.default_rng(seed)
    features = np.maximum(rng.normal(size=(B, N, W)), 0)
    shares = rng.random((B, N))
    shares /= shares.sum(axis=1, keepdims=True)
    targets = np.eye(C, dtype=bool)[np.arange(B) % C]
    targets[0, 1] = True  # two labels
    return features, shares, targets


@pytest.mark.parametrize("num_single", [N, 2])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_solution_is_that_of_a_weighted_ridge_on_clips_and_tokens(share, num_single):
    features, shares, targets = problem()
    sums = TokenStatistics(W, num_single if share else 0)
    sums.grow(C)
    for some in np.array_split(np.arange(B), 3):
        sums.absorb(
            [(torch.from_numpy(features[some]), torch.from_numpy(shares[some]))],
            torch.from_numpy(targets[some]),
        )
    found = solve_ridge(sums.gram(share), sums.cross(share), 0.5, "test").numpy()
    rows, labels, weights = [], [], []
    for b in range(B):
        rows.append(shares[b] @ features[b])
        labels.append(targets[b])
        weights.append(1 - share)
        chosen = np.argsort(-shares[b])[:num_single]
        for n in chosen:
            rows.append(features[b, n])
            labels.append(targets[b])
            weights.append(share * shares[b, n] / shares[b, chosen].sum())
    outside = Ridge(alpha=0.5, fit_intercept=False, solver="svd")
    outside.fit(np.array(rows), np.array(labels, float), sample_weight=np.array(weights))
    np.testing.assert_allclose(found, outside.coef_.T, atol=1e-10)


def test_rounded_products_are_those_of_the_rounded_values():
    """Nothing is lost but the rounding itself, and torch's setting is as it was."""
    features, shares, targets = (torch.from_numpy(x) for x in problem())
    sums = TokenStatistics(W, N)
    sums.grow(C)
    before = torch.backends.mkldnn.matmul.fp32_precision
    sums.absorb([(features.float(), shares.float())], targets, rounding=True)
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    whole, single = [], []
    for clip, share in zip(features.float(), shares.float(), strict=True):
        whole.append(share @ clip)
        single += list(clip * share.sqrt().unsqueeze(-1))
    exact = TokenStatistics(W, N)
    exact.grow(C)
    exact.absorb([(features, shares)], targets)
    for token_share, rows in ((0.0, whole), (1.0, single)):
        factors = torch.stack(rows).bfloat16().double()
        found, wanted = sums.gram(token_share).tril(), (factors.T @ factors).tril()
        assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-6)
        unrounded = exact.gram(token_share).tril()
        assert not torch.allclose(found, unrounded, rtol=1e-5)
        assert torch.allclose(found, unrounded, rtol=1e-2, atol=1e-2)
        assert torch.allclose(sums.cross(token_share), exact.cross(token_share), rtol=1e-5)


@pytest.mark.parametrize("has_units", [True, False])
def test_features_in_bfloat16_are_those_of_rounded_values_rounded(monkeypatch, has_units):
    """By units of the processor or without: added in more than bfloat16, and rounded once."""
    monkeypatch.setattr(rounding, "has_bfloat16_units", lambda: has_units)
    features = RandomFeatures(64, 300, seed=5)
    in_pieces = features.rounding()
    tokens = torch.from_numpy(np.random.default_rng(6).normal(size=(7, 5, 64))).float()
    found = in_pieces(tokens).clone()
    assert found.dtype == torch.float32
    assert torch.equal(found, found.bfloat16().float())
    normalised = torch.nn.functional.layer_norm(tokens, (64,)).bfloat16().double()
    exact = (normalised @ features.projection.bfloat16().double().T).relu()
    wanted = exact.bfloat16().double()
    # One that lies between two values may fall on either side of them.
    assert torch.allclose(found.double(), exact, rtol=2.0**-8, atol=1e-6)
    assert (found == wanted).double().mean() > 0.99
    # What a clip adds does not depend on the clips beside it.
    assert torch.equal(torch.cat([in_pieces(one[None]).clone() for one in tokens]), found)


def test_threads_that_round_and_predict_keep_each_other_out():
    processor = torch.backends.mkldnn.matmul
    before = processor.fp32_precision
    seen, inside, leave = [], threading.Event(), threading.Event()

    def learning():
        with rounded_products(True), rounded_products(True):
            inside.set()
            leave.wait(10)

    def predicting():
        with plain_products():
            seen.append(processor.fp32_precision)

    first = threading.Thread(target=learning)
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=predicting)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    assert processor.fp32_precision == "bf16"
    leave.set()
    first.join(10)
    second.join(10)
    assert seen == [before] == [processor.fp32_precision]


def test_wide_gram_matrices_are_made_in_blocks_of_their_lower_triangle():
    rng = np.random.default_rng(3)
    features = torch.from_numpy(rng.normal(size=(4, 2, 1203)))
    shares = torch.full((4, 2), 0.5, dtype=torch.float64)
    sums = TokenStatistics(1203, 0)
    sums.grow(1)
    sums.absorb([(features, shares)], torch.ones(4, 1, dtype=torch.bool))
    pooled = features.mean(dim=1)
    assert torch.allclose(sums.gram(0.0).tril(), (pooled.T @ pooled).tril(), atol=1e-12)


def test_pieces_are_summed_one_by_one_to_what_all_clips_give():
    features, shares, targets = (torch.from_numpy(x) for x in problem())
    begun = []

    def pieces():
        for begin in range(0, B, 2):
            begun.append(begin)
            yield features[begin : begin + 2], shares[begin : begin + 2]

    one, by_two = TokenStatistics(W, 2), TokenStatistics(W, 2)
    for sums in (one, by_two):
        sums.grow(C)
    one.absorb([(features, shares)], targets)
    by_two.absorb(pieces(), targets)
    assert begun == list(range(0, B, 2))
    for share in (0.0, 0.3, 1.0):
        mine, other = one.gram(share).tril(), by_two.gram(share).tril()
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)
        torch.testing.assert_close(one.cross(share), by_two.cross(share), rtol=0, atol=1e-12)


def test_of_tokens_that_count_alike_those_taken_singly_lie_all_over_the_clip():
    """81 tokens of one saliency, twelve counted: no stretch of the audio is left out."""
    features = torch.eye(81, dtype=torch.float64).unsqueeze(0)
    sums = TokenStatistics(81, 12)
    sums.grow(1)
    alike = torch.full((1, 81), 1 / 81, dtype=torch.float64)
    sums.absorb([(features, alike)], torch.ones(1, 1, dtype=torch.bool))
    chosen = sums.gram(1.0).diagonal().nonzero().flatten()
    assert len(chosen) == 12
    ends = torch.cat([torch.tensor([-1]), chosen, torch.tensor([81])])
    assert ends.diff().max() <= 13  # 81 / 12 = 6.75


def test_assignment_is_a_soft_max_over_tokens_with_saliency_as_prior():
    rng = np.random.default_rng(1)
    scores, (_, shares, _) = rng.normal(size=(B, N, C)), problem()
    found = assign_tokens(torch.from_numpy(scores), torch.from_numpy(shares), 0.7).numpy()
    for b in range(B):
        for i in range(C):
            parts = [shares[b, n] * math.exp(scores[b, n, i] / 0.7) for n in range(N)]
            np.testing.assert_allclose(found[b, :, i], np.array(parts) / sum(parts), atol=1e-12)
    cold = assign_tokens(torch.from_numpy(scores), torch.from_numpy(shares), 1e9).numpy()
    np.testing.assert_allclose(cold, np.repeat(shares[:, :, None], C, axis=2), atol=1e-6)
