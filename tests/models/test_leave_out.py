"""Scores by the regression without some clips, against training it again without them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cign.networks import leave_out
from cign.networks.leave_out import ClipRows, LeftOut, scores_without, sets_by_source

K, N, C, W = 3, 4, 3, 8
RIDGES = (0.1, 2.0)


def problem(num_clips, seed=0):
    """Rows of clips, and the sums over them with only the lower triangle of G."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, C, num_clips)
    rows = ClipRows(
        fitted=torch.from_numpy(np.maximum(rng.normal(size=(num_clips, K, W)), 0)),
        weights=torch.from_numpy(rng.random((num_clips, K))),
        tokens=torch.from_numpy(np.maximum(rng.normal(size=(num_clips, N, W)), 0)),
        targets=torch.from_numpy(np.eye(C, dtype=bool)[labels]),
    )
    x, y = rows.fitted.flatten(0, 1), rows.labelled.flatten(0, 1)
    return (x.T @ x).tril(), x.T @ y, rows


def trained_without(rows, clips, ridge):
    """The solution of all other clips, by numpy."""
    kept = np.setdiff1d(np.arange(len(rows.fitted)), clips)
    x = rows.fitted[kept].reshape(-1, W).numpy()
    y = rows.labelled[kept].reshape(-1, C).numpy()
    return np.linalg.solve(x.T @ x + ridge * np.eye(W), x.T @ y)


def check(sources, large=np.inf):
    gram, cross, rows = problem(len(sources))
    sets = sets_by_source(sources, large)
    assert sorted(clip for one in sets for clip in one.scored) == list(range(len(sources)))
    found = dict(scores_without(gram, cross, RIDGES, rows, sets))
    assert tuple(found) == RIDGES
    for clip, own in enumerate(sources):
        related = [i for i, other in enumerate(sources) if set(own) & set(other)]
        for ridge in RIDGES:
            wanted = rows.tokens[clip].numpy() @ trained_without(rows, related, ridge)
            np.testing.assert_allclose(found[ridge][clip].numpy(), wanted, rtol=0, atol=1e-8)
    return sets


def test_clips_with_a_source_of_their_own():
    check([(str(number),) for number in range(12)])


@pytest.mark.parametrize("chunk_bytes", [leave_out.CHUNK_BYTES, 1, 3000])
def test_clips_that_share_a_source(monkeypatch, chunk_bytes):
    monkeypatch.setattr(leave_out, "CHUNK_BYTES", chunk_bytes)
    sets = check([(name,) for name in "aabccdadbeffgh"])
    assert len(sets) == 8  # once per source


def test_clips_of_several_sources():
    """A clip of two sources is left out with either of them."""
    sets = check([("a", "b"), ("b",), ("c",), ("c", "a"), ("d",), ("e",), ("d", "e"), ("f",)])
    assert all(len(one.scored) == 1 for one in sets)


@pytest.mark.parametrize("several", [False, True])
def test_large_sources_are_subtracted_from_the_sums(several):
    sources = [(name,) for name in "aaaaabbbbcdeac"]
    if several:
        sources += [("b", "a"), ("c", "b")]
    sets = check(sources, large=3)
    assert any(one.shared for one in sets)
    assert all(set(one.scored) <= set(one.clips) for one in sets)


def test_a_ridge_alone_and_among_many_has_the_same_scores(monkeypatch):
    """Many ridges share one eigendecomposition, a single one takes a Cholesky factorisation."""
    gram, cross, rows = problem(14)
    sets = sets_by_source([(name,) for name in "aaaaabbbbcdeac"], 3)
    calls = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda x: calls.append(1) or eigh(x))
    ((_, alone),) = scores_without(gram, cross, [2.0], rows, sets)
    assert not calls
    many = dict(scores_without(gram, cross, [2.0, *range(3, 30)], rows, sets))
    assert calls
    torch.testing.assert_close(many[2.0], alone, rtol=0, atol=1e-10)


def test_fifty_sources():
    rng = np.random.default_rng(1)
    names = [f"recording {number}" for number in range(50)]
    check([(names[i],) for i in [*range(50), *rng.integers(0, 50, 70)]])


def test_one_clip_left_out_of_the_ridge_regression_of_scikit_learn():
    gram, cross, rows = problem(10)
    ones = torch.ones_like(rows.weights[:, :1])
    rows = ClipRows(
        fitted=rows.fitted[:, :1], weights=ones, tokens=rows.tokens, targets=rows.targets
    )
    x, y = rows.fitted[:, 0].numpy(), rows.targets.double().numpy()
    gram, cross = torch.from_numpy(x.T @ x), torch.from_numpy(x.T @ y)
    sets = sets_by_source([(str(number),) for number in range(10)], np.inf)
    ((_, found),) = scores_without(gram, cross, [0.7], rows, sets)
    for clip in range(10):
        others = np.arange(10) != clip
        outside = Ridge(alpha=0.7, fit_intercept=False, solver="svd").fit(x[others], y[others])
        wanted = rows.tokens[clip].numpy() @ outside.coef_.T
        np.testing.assert_allclose(found[clip].numpy(), wanted, rtol=0, atol=1e-8)


def test_clips_in_no_set_have_no_score_and_need_no_rows_of_the_sums():
    """The sums may hold clips whose rows are gone: those of earlier tasks."""
    gram, cross, rows = problem(9)
    some = slice(0, 5)
    few = ClipRows(
        fitted=rows.fitted[some],
        weights=rows.weights[some],
        tokens=rows.tokens[some],
        targets=rows.targets[some],
    )
    sets = [LeftOut(scored=(1,), without=(1, 3)), LeftOut(scored=(4,), without=(4,))]
    ((_, found),) = scores_without(gram, cross, [0.5], few, sets)
    assert found[[0, 2, 3]].isnan().all()
    for clip, without in ((1, [1, 3]), (4, [4])):
        wanted = rows.tokens[clip].numpy() @ trained_without(rows, without, 0.5)
        np.testing.assert_allclose(found[clip].numpy(), wanted, rtol=0, atol=1e-8)


def test_a_system_that_is_singular_without_a_clip_has_no_scores_for_it():
    gram, cross, rows = problem(2)  # six rows of eight features
    sets = sets_by_source([("a",), ("b",)], np.inf)
    ((_, found),) = scores_without(gram, cross, [1e-300], rows, sets)
    assert found.isnan().all()
    ((_, found),) = scores_without(gram, cross, [1e-3], rows, sets)
    assert found.isfinite().all()
