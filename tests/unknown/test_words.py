"""The words for an unknown clip name the evidence that decided."""

import pytest
import torch

from cign.open_set import words
from cign.open_set.rule import PARTS, SCORES, parts_of
from cign.open_set.words import why_unknown


def test_every_part_of_every_score_has_words():
    assert set(words._WORDS) == set(PARTS)
    for score in SCORES:
        for multi_label in (False, True):
            evidence = dict.fromkeys(parts_of(score, multi_label=multi_label), 2.0)
            assert why_unknown(evidence, 0.9, 0.8)


@pytest.mark.parametrize(
    ("evidence", "wanted"),
    [
        ({"max_logit": 0.1, "margin": -2.0, "leverage": 9.5}, "features are far from"),
        ({"max_logit": 0.1, "margin": 4.0, "leverage": -0.5}, "no class stands out"),
        ({"max_logit": 3.1, "margin": 2.0, "leverage": 0.5}, "no class has a high score"),
    ],
)
def test_the_largest_part_is_named_with_its_value(evidence, wanted):
    said = why_unknown(evidence, 1.0, 0.8)
    assert wanted in said
    name, value = max(evidence.items(), key=lambda item: item[1])
    assert f"({name} {value:.1f} standard deviations above" in said
    # The score on the scale of --unknown-threshold: the sigmoid of the mean of the parts.
    score = torch.sigmoid(torch.tensor(list(evidence.values()), dtype=torch.float64).mean())
    assert said.endswith(f"; unknown score {score:.3f}, threshold 0.800)")


def test_a_score_of_probabilities_alone_is_explained_by_them():
    assert why_unknown({}, 0.97, 0.02) == (
        "its highest probability, 0.97, is below 0.98, which is 1 minus the unknown threshold"
    )
