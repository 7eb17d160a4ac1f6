"""Separated soft-max and task-wise distillation against plain loops in float64."""

import math

import pytest
import torch

from cign.losses.separated import separated_cross_entropy, task_wise_distillation


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def log_softmax(row):
    return [x - math.log(sum(math.exp(v) for v in row)) for x in row]


def test_old_clips_count_over_old_classes_and_new_ones_over_new():
    logits = torch.randn(4, 5, dtype=torch.float64)
    labels = [0, 2, 3, 4]  # three old classes, two new
    targets = torch.eye(5).bool()[labels]
    total = 0.0
    for row, y in zip(logits.tolist(), labels, strict=True):
        total -= log_softmax(row[:3])[y] if y < 3 else log_softmax(row[3:])[y - 3]
    assert separated_cross_entropy(logits, targets, 3).item() == pytest.approx(total / 4, rel=1e-12)


def test_first_task_is_plain_cross_entropy():
    logits = torch.randn(6, 3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    expected = torch.nn.functional.cross_entropy(logits, labels)
    got = separated_cross_entropy(logits, torch.eye(3).bool()[labels], 0)
    assert got.item() == pytest.approx(expected.item(), rel=1e-12)


def test_new_clips_do_not_push_old_logits():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.eye(5).bool()[[3, 4, 4]]
    separated_cross_entropy(logits, targets, 3).backward()
    assert not logits.grad[:, :3].any()
    assert logits.grad[:, 3:].all()


@pytest.mark.parametrize("sizes", [[4], [1, 3], [2, 1, 1]])
def test_distillation_sums_the_kl_of_each_old_task(sizes):
    old = torch.randn(3, 4, dtype=torch.float64)
    now = torch.randn(3, 6, dtype=torch.float64)
    temperature, total = 2.0, 0.0
    for b in range(3):
        start = 0
        for size in sizes:
            rows = [x[b, start : start + size] / temperature for x in (old, now)]
            p, q = (log_softmax(row.tolist()) for row in rows)
            total += sum(math.exp(a) * (a - c) for a, c in zip(p, q, strict=True))
            start += size
    got = task_wise_distillation(old, now, sizes, temperature)
    assert got.item() == pytest.approx(4.0 * total / 3, rel=1e-12)


def test_distillation_does_not_see_a_shift_of_a_whole_task():
    old = torch.randn(3, 4, dtype=torch.float64)
    shifted = old + torch.tensor([0.0, 0.0, 5.0, 5.0])
    assert task_wise_distillation(old, shifted, [2, 2], 2.0).item() == pytest.approx(0, abs=1e-14)
    assert task_wise_distillation(old, shifted, [4], 2.0).item() > 0.1
