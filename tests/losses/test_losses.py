"""Losses against plain loops in float64."""

import math

import pytest
import torch

from cign.losses.classification import (
    classification_loss,
    masked_binary_cross_entropy,
    negatives_mask,
)
from cign.losses.tokens import token_classification_loss, token_distillation_loss


def softmax(row):
    top = max(row)
    exps = [math.exp(x - top) for x in row]
    return [e / sum(exps) for e in exps]


def bce(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -math.log(p) if target else -math.log(1 - p)


def test_token_classification_is_cross_entropy_of_row_against_its_own_class():
    logits = torch.randn(5, 5, dtype=torch.float64)
    expected = -sum(math.log(softmax(row)[i]) for i, row in enumerate(logits.tolist())) / 5
    assert token_classification_loss(logits).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num_classes", [3, 7])
def test_token_distillation_is_kl_from_old_to_now_over_the_old_outputs(num_classes):
    old = torch.randn(2, 3, 3, dtype=torch.float64)
    now = torch.randn(2, 3, num_classes, dtype=torch.float64)
    total = 0.0
    for b in range(2):
        for i in range(3):
            p = softmax(old[b, i].tolist())
            q = softmax(now[b, i, :3].tolist())
            total += sum(a * math.log(a / c) for a, c in zip(p, q, strict=True))
    assert token_distillation_loss(old, now).item() == pytest.approx(total / 6, rel=1e-12)


def test_token_distillation_has_its_direction_and_is_zero_at_the_old_model():
    old, now = torch.randn(4, 4).double(), torch.randn(4, 4).double()
    assert token_distillation_loss(old, old).item() == pytest.approx(0, abs=1e-15)
    forward, backward = token_distillation_loss(old, now), token_distillation_loss(now, old)
    assert abs(forward - backward) > 1e-3


def test_masked_binary_cross_entropy_is_the_mean_over_what_counts():
    logits = torch.randn(4, 5, dtype=torch.float64)
    targets = torch.rand(4, 5) < 0.4
    mask = torch.rand(4, 5) < 0.5
    mask[0, 0] = True
    terms = [
        bce(logits[b, c].item(), bool(targets[b, c]))
        for b in range(4)
        for c in range(5)
        if mask[b, c]
    ]
    expected = sum(terms) / len(terms)
    value = masked_binary_cross_entropy(logits, targets, mask).item()
    assert value == pytest.approx(expected, rel=1e-12)
    assert masked_binary_cross_entropy(logits, targets, mask & False).item() == 0.0


def test_negatives_mask_leaves_old_classes_to_exemplars():
    from_memory = torch.tensor([False, True])
    assert negatives_mask(from_memory, 2, 3, "all").all()
    new = negatives_mask(from_memory, 2, 3, "new")
    assert new.tolist() == [[False, False, True], [True, True, True]]


def test_classification_loss_against_loops():
    logits = torch.randn(3, 4, dtype=torch.float64)
    one_hot = torch.eye(4)[[2, 0, 3]].bool()
    expected = -sum(math.log(softmax(logits[b].tolist())[c]) for b, c in enumerate([2, 0, 3])) / 3
    value = classification_loss(logits, one_hot, multi_label=False).item()
    assert value == pytest.approx(expected, rel=1e-12)
    several = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0]]).bool()
    terms = [bce(logits[b, c].item(), bool(several[b, c])) for b in range(3) for c in range(4)]
    value = classification_loss(logits, several, multi_label=True).item()
    assert value == pytest.approx(sum(terms) / 12, rel=1e-12)
