"""The count-adjusted loss against its definition in plain loops, and what it is for."""

import math

import pytest
import torch

from cign.losses.adjusted import count_adjusted_loss


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_loss_is_the_formula(strength):
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64)
    labels, counts = [0, 2, 1, 2], [60.0, 5.0, 1.0]
    targets = torch.eye(3)[labels].bool()
    total = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        shifted = [f + strength * math.log(n / 66) for f, n in zip(row, counts, strict=True)]
        total -= shifted[label] - math.log(sum(math.exp(s) for s in shifted))
    found = count_adjusted_loss(logits, targets, torch.tensor(counts), strength)
    assert found.item() == pytest.approx(total / 4, abs=1e-12)


def test_smoothing_is_that_of_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 3, 0])
    counts = torch.tensor([9.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    found = count_adjusted_loss(logits, torch.eye(4)[labels], counts, 0.7, 0.1)
    shifted = logits + 0.7 * (counts / 15).log()
    wanted = torch.nn.functional.cross_entropy(shifted, labels, label_smoothing=0.1)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-12)


def test_two_labels_share_the_weight():
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    targets = torch.tensor([[True, False, True]])
    found = count_adjusted_loss(logits, targets, torch.ones(3), 1.0)
    wanted = -0.5 * (logits.log_softmax(-1)[0, 0] + logits.log_softmax(-1)[0, 2])
    assert found.item() == pytest.approx(wanted.item(), abs=1e-12)


def test_with_uninformative_clips_scores_do_not_follow_the_counts():
    """Bias-only scores: plain cross-entropy learns the shares, the adjusted one nothing."""
    counts = torch.tensor([50.0, 5.0])
    targets = torch.eye(2).repeat_interleave(torch.tensor([50, 5]), 0).bool()
    for strength, gap in ((0.0, math.log(10)), (1.0, 0.0)):
        scores = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.LBFGS([scores], max_iter=100)

        def closure(scores=scores, optimizer=optimizer, strength=strength):
            optimizer.zero_grad()
            loss = count_adjusted_loss(scores.expand(55, 2), targets, counts, strength)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert (scores[0] - scores[1]).item() == pytest.approx(gap, abs=1e-3)
