"""Pooled outputs distillation against plain loops in float64."""

import numpy as np
import pytest
import torch

from cign.losses.pooled import pod_flat, pod_spatial, pooled_map


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def by_hand(tokens, rows, columns):
    """Sums over columns, then over rows, each clip in a plain list of unit length."""
    out = []
    for clip in tokens.tolist():
        maps = len(clip) // (rows * columns)
        at = lambda k, h, w: clip[(k * rows + h) * columns + w]  # noqa: B023, E731
        width = len(clip[0])
        values = []
        for k in range(maps):
            for h in range(rows):
                values += [sum(at(k, h, w)[d] for w in range(columns)) for d in range(width)]
        for k in range(maps):
            for w in range(columns):
                values += [sum(at(k, h, w)[d] for h in range(rows)) for d in range(width)]
        norm = sum(v * v for v in values) ** 0.5
        out.append([v / norm for v in values])
    return np.array(out)


@pytest.mark.parametrize(
    ("num_tokens", "grid"), [(6, (2, 3)), (12, (2, 3)), (5, None), (4, (4, 1))]
)
def test_spatial_distance_is_that_of_sums_over_rows_and_columns(num_tokens, grid):
    generator = torch.Generator().manual_seed(num_tokens)
    old, now = torch.randn(2, 3, num_tokens, 4, dtype=torch.float64, generator=generator)
    rows, columns = grid or (1, num_tokens)
    a, b = by_hand(old, rows, columns), by_hand(now, rows, columns)
    np.testing.assert_allclose(pooled_map(old, grid).numpy(), a, atol=1e-13)
    expected = ((a - b) ** 2).sum(axis=1).mean()
    assert pod_spatial(old, now, grid).item() == pytest.approx(expected, rel=1e-12)


def test_spatial_distance_leaves_a_move_that_keeps_both_sums_free():
    tokens = torch.zeros(1, 4, 1, dtype=torch.float64)
    tokens[0, 0] = tokens[0, 3] = 1.0  # one diagonal of a 2 x 2 map
    moved = 1.0 - tokens  # the other
    assert pod_spatial(tokens, moved, (2, 2)).item() == pytest.approx(0.0, abs=1e-15)
    assert pod_spatial(tokens, moved, None).item() > 0.5  # a row holds every token


def test_flat_distance_is_two_minus_two_cosines():
    old, now = torch.randn(2, 5, 7, dtype=torch.float64)
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(old, now, strict=True)]
    assert pod_flat(old, now).item() == pytest.approx(2 - 2 * sum(cosines) / 5, rel=1e-12)
    assert pod_flat(old, 3 * old).item() == pytest.approx(0, abs=1e-15)
