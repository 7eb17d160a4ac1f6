"""Quadratic penalties against plain loops in float64."""

import pytest
import torch

from cign.losses.consolidation import merge_penalties, quadratic_penalty


def loop_penalty(now, anchor, importance):
    triples = zip(now.flatten(), anchor.flatten(), importance.flatten(), strict=True)
    return sum(0.5 * f.item() * (x - a).item() ** 2 for x, a, f in triples)


def test_penalty_is_half_the_weighted_squared_distance():
    torch.manual_seed(0)
    shapes = [(2, 3), (4,)]
    triples = [tuple(torch.rand(3, *shape, dtype=torch.float64)) for shape in shapes]
    expected = sum(loop_penalty(*triple) for triple in triples)
    assert quadratic_penalty(triples).item() == pytest.approx(expected, rel=1e-12)


def test_merged_penalties_differ_from_their_sum_by_a_constant():
    torch.manual_seed(1)
    anchors = torch.randn(3, 5, dtype=torch.float64)
    importances = torch.rand(3, 5, dtype=torch.float64)
    importances[0, 0] = importances[1, 1] = importances[1, 2] = importances[2, 2] = 0
    importances[:, 4] = 0  # never mattered
    total, where = torch.zeros(5).double(), torch.zeros(5).double()
    for anchor, importance in zip(anchors, importances, strict=True):
        total, where = merge_penalties(total, where, importance, anchor)
    gaps = []
    for _ in range(4):
        x = torch.randn(5, dtype=torch.float64)
        apart = sum(loop_penalty(x, a, f) for a, f in zip(anchors, importances, strict=True))
        gaps.append(apart - loop_penalty(x, where, total))
    assert max(gaps) - min(gaps) < 1e-12
    assert gaps[0] > 0.01
    torch.testing.assert_close(total, importances.sum(dim=0))
    assert where[4] == anchors[2, 4]


def test_tiny_importances_merge_without_overflow():
    tiny = torch.tensor([1e-38, 0.0])
    total, where = merge_penalties(tiny, torch.ones(2), tiny, 3 * torch.ones(2))
    assert total.isfinite().all()
    torch.testing.assert_close(where, torch.tensor([2.0, 3.0]))
