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

LABELS = [0, 2, 0, 1, 0]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, 5, 4, dtype=torch.float64, generator=generator)


def shares(audio, visual, temperature):
    """Soft-max over the visual features of each audio's cosine / temperature, as nested lists."""
    table = []
    for a in audio.tolist():
        row = []
        for v in visual.tolist():
            norm = math.sqrt(sum(x * x for x in a) * sum(x * x for x in v))
            row.append(math.exp(sum(x * y for x, y in zip(a, v, strict=True)) / norm / temperature))
        table.append([value / sum(row) for value in row])
    return table


def test_instance_contrast_is_of_each_audio_with_all_visual_features(pairs):
    table = shares(*pairs, 0.3)
    expected = -sum(math.log(table[i][i]) for i in range(5)) / 5
    loss = instance_contrast(pair_similarities(*pairs, 0.3))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("over", ["pairs", "positives"])
def test_class_contrast_sums_over_all_clips_of_the_class(pairs, over):
    table = shares(*pairs, 0.3)
    total = 0.0
    for i in range(5):
        same = [j for j in range(5) if LABELS[j] == LABELS[i]]
        number = len(same) if over == "positives" else 5
        total -= sum(math.log(table[i][j]) for j in same) / number
    loss = class_contrast(pair_similarities(*pairs, 0.3), torch.tensor(LABELS), over)
    assert loss.item() == pytest.approx(total / 5, rel=1e-12)


def test_without_two_clips_of_a_class_both_contrasts_are_one(pairs):
    similarities = pair_similarities(*pairs, 0.1)
    one = class_contrast(similarities, torch.arange(5), "positives")
    assert one.item() == pytest.approx(instance_contrast(similarities).item(), rel=1e-12)


def test_one_clip_has_nothing_to_contrast_with(pairs):
    similarities = pair_similarities(*pairs[:, :1], 0.05)
    assert instance_contrast(similarities).item() == 0.0
    assert class_contrast(similarities, torch.tensor([3])).item() == 0.0


@pytest.mark.parametrize("maps", [(4,), (2, 4), (2, 3, 4)])
def test_attention_distillation_sums_kl_over_the_maps_of_the_clips_that_count(maps):
    old, now = torch.randn(2, 3, *maps, dtype=torch.float64).log_softmax(dim=-1)
    terms = [
        sum(math.exp(p) * (p - q) for p, q in zip(a, b, strict=True))
        for a, b in zip(old.flatten(1).tolist(), now.flatten(1).tolist(), strict=True)
    ]
    got = attention_distillation(old, now, torch.tensor([True, False, True]))
    assert got.item() == pytest.approx((terms[0] + terms[2]) / 2, rel=1e-12)
    assert attention_distillation(old, old, torch.ones(3)).item() == pytest.approx(0, abs=1e-15)
    assert attention_distillation(old, now, torch.zeros(3)).item() == 0.0
