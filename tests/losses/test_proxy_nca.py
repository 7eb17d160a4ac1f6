"""The local similarity classifier and its loss against plain loops in float64."""

import math

import pytest
import torch

from cign.losses.proxies import local_similarity, proxy_nca_loss


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_similarity_weighs_each_proxy_by_the_softmax_of_its_cosine():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    proxies = torch.randn(4, 2, 5, dtype=torch.float64, generator=generator)
    got = local_similarity(features, proxies)
    for b in range(3):
        for c in range(4):
            cosines = [cosine(features[b].tolist(), theta) for theta in proxies[c].tolist()]
            weights = [math.exp(x) for x in cosines]
            expected = sum(w * x for w, x in zip(weights, cosines, strict=True)) / sum(weights)
            assert got[b, c].item() == pytest.approx(expected, rel=1e-12)


def test_loss_is_the_hinge_of_the_margin_against_all_others():
    generator = torch.Generator().manual_seed(1)
    similarities = 2 * torch.rand(6, 4, dtype=torch.float64, generator=generator) - 1
    labels = torch.tensor([0, 1, 2, 3, 1, 1])
    similarities[5] = torch.tensor([-1.0, 1.0, -1.0, -1.0])  # far ahead: the hinge is shut
    scale, margin, total, shut = 5.0, 0.6, 0.0, 0
    for row, y in zip(similarities.tolist(), labels.tolist(), strict=True):
        others = sum(math.exp(scale * s) for i, s in enumerate(row) if i != y)
        value = -math.log(math.exp(scale * (row[y] - margin)) / others)
        total += max(0.0, value)
        shut += value < 0
    assert 0 < shut < 6
    loss = proxy_nca_loss(similarities, labels, scale, margin)
    assert loss.item() == pytest.approx(total / 6, rel=1e-12)


def test_gradients_are_those_of_finite_differences():
    features = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    proxies = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 4, 1])
    assert torch.autograd.gradcheck(
        lambda f, p, s: proxy_nca_loss(local_similarity(f, p), labels, s, 0.6),
        (features, proxies, scale),
    )


def test_a_single_class_has_nothing_to_be_told_from():
    features = torch.randn(2, 3, requires_grad=True)
    loss = proxy_nca_loss(
        local_similarity(features, torch.randn(1, 2, 3)), torch.zeros(2).long(), 1.0, 0.6
    )
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(features.grad).all()
