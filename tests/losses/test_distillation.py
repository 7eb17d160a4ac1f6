"""Distillation losses against plain loops in float64."""

import math

import pytest
import torch

from cign.losses.distillation import (
    distillation_loss,
    masked_cross_entropy,
    sigmoid_distillation_loss,
)


def tempered(row, temperature):
    """Probabilities to the power 1 / T, normalised again: the paper's own wording."""
    raw = [math.exp(x) for x in row]
    powers = [(x / sum(raw)) ** (1 / temperature) for x in raw]
    return [x / sum(powers) for x in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_is_cross_entropy_of_powers_of_the_probabilities(temperature):
    torch.manual_seed(1)
    old, now = torch.randn(4, 3).double(), torch.randn(4, 5).double()
    total = 0.0
    for b in range(4):
        p = tempered(old[b].tolist(), temperature)
        q = tempered(now[b, :3].tolist(), temperature)
        total -= sum(a * math.log(c) for a, c in zip(p, q, strict=True))
    value = distillation_loss(old, now, temperature).item()
    assert value == pytest.approx(total / 4, rel=1e-12)


def test_distillation_pulls_at_old_outputs_only_and_rests_at_the_old_model():
    torch.manual_seed(2)
    old = torch.randn(4, 3).double()
    now = torch.randn(4, 5).double().requires_grad_()
    distillation_loss(old, now, 2.0).backward()
    assert now.grad[:, 3:].abs().max() == 0
    # The derivative of cross-entropy and of KL alike: (q - p) / T over the number of clips.
    expected = ((now[:, :3] / 2).softmax(-1) - (old / 2).softmax(-1)) / 2 / 4
    torch.testing.assert_close(now.grad[:, :3], expected.detach())
    same = old.clone().requires_grad_()
    distillation_loss(old, same, 2.0).backward()
    assert same.grad.abs().max() < 1e-15


def test_sigmoid_distillation_takes_old_outputs_for_old_classes_and_labels_for_new():
    torch.manual_seed(3)
    old, now = torch.randn(3, 2).double(), torch.randn(3, 4).double()
    targets = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).bool()
    total = 0.0
    for b in range(3):
        for c in range(4):
            g = 1 / (1 + math.exp(-now[b, c].item()))
            q = 1 / (1 + math.exp(-old[b, c].item())) if c < 2 else float(targets[b, c])
            total -= q * math.log(g) + (1 - q) * math.log(1 - g)
    value = sigmoid_distillation_loss(old, now, targets).item()
    assert value == pytest.approx(total / 12, rel=1e-12)
    # The label of an exemplar of an old class is not looked at.
    other = targets.clone()
    other[0, :2] = torch.tensor([False, True])
    assert sigmoid_distillation_loss(old, now, other).item() == value


def test_sigmoid_distillation_without_old_classes_is_binary_cross_entropy():
    torch.manual_seed(4)
    now, targets = torch.randn(3, 4).double(), torch.rand(3, 4) < 0.3
    p = now.sigmoid()
    expected = -torch.where(targets, p.log(), (1 - p).log()).mean().item()
    value = sigmoid_distillation_loss(torch.zeros(3, 0).double(), now, targets).item()
    assert value == pytest.approx(expected, rel=1e-12)


def test_masked_cross_entropy_is_a_soft_max_over_what_counts():
    torch.manual_seed(5)
    logits = torch.randn(2, 4).double().requires_grad_()
    mask = torch.tensor([[False, False, True, True], [True, True, True, True]])
    labels = torch.tensor([3, 1])
    total = 0.0
    for b in range(2):
        counted = [math.exp(logits[b, c].item()) for c in range(4) if mask[b, c]]
        total -= math.log(math.exp(logits[b, labels[b]].item()) / sum(counted))
    loss = masked_cross_entropy(logits, labels, mask)
    assert loss.item() == pytest.approx(total / 2, rel=1e-12)
    loss.backward()
    assert logits.grad[0, :2].abs().max() == 0
    assert logits.grad.isfinite().all()
