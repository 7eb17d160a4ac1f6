"""Audio-visual constraints and attention distillation against plain loops in float64."""

import math

import pytest
import torch

from cign.losses.similarity import (
    attention_distillation,
    class_contrast,
    instance_contrast,
    pair_similarities,
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, 5, 4, dtype=torch.float64, generator=generator)


def exps(audio, visual, temperature):
    """exp(cosine / temperature) of each audio with each image, as nested lists."""
    table = []
    for a in audio.tolist():
        row = []
        for v in visual.tolist():
            norm = math.sqrt(sum(x * x for x in a) * sum(x * x for x in v))
            row.append(math.exp(sum(x * y for x, y in zip(a, v, strict=True)) / norm / temperature))
        table.append(row)
    return table


def test_instance_contrast_is_both_directions_of_infonce(pairs):
    table = exps(*pairs, 0.3)
    total = 0.0
    for i in range(5):
        total -= math.log(table[i][i] / sum(table[i]))
        total -= math.log(table[i][i] / sum(row[i] for row in table))
    loss = instance_contrast(pair_similarities(*pairs, 0.3))
    assert loss.item() == pytest.approx(total / 10, rel=1e-12)


def test_class_contrast_averages_over_all_clips_of_the_class(pairs):
    labels = [0, 2, 0, 1, 0]
    table = exps(*pairs, 0.3)
    total = 0.0
    for i in range(5):
        same = [j for j in range(5) if labels[j] == labels[i]]
        for j in same:
            total -= math.log(table[i][j] / sum(table[i])) / len(same)
            total -= math.log(table[j][i] / sum(row[i] for row in table)) / len(same)
    loss = class_contrast(pair_similarities(*pairs, 0.3), torch.tensor(labels))
    assert loss.item() == pytest.approx(total / 10, rel=1e-12)


def test_without_two_clips_of_a_class_both_contrasts_are_one(pairs):
    similarities = pair_similarities(*pairs, 0.1)
    one = class_contrast(similarities, torch.arange(5))
    assert one.item() == pytest.approx(instance_contrast(similarities).item(), rel=1e-12)


def test_attention_distillation_is_kl_over_tokens_of_the_clips_that_count():
    old, now = torch.randn(2, 3, 4, dtype=torch.float64).log_softmax(dim=-1)
    weight = torch.tensor([True, False, True])
    terms = [
        sum(math.exp(p) * (p - q) for p, q in zip(a, b, strict=True))
        for a, b in zip(old.tolist(), now.tolist(), strict=True)
    ]
    got = attention_distillation(old, now, weight)
    assert got.item() == pytest.approx((terms[0] + terms[2]) / 2, rel=1e-12)
    assert attention_distillation(old, old, weight).item() == pytest.approx(0, abs=1e-15)
    assert attention_distillation(old, now, torch.zeros(3)).item() == 0.0
