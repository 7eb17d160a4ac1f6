"""Each view of a clip against its formula in a loop."""

import numpy as np
import pytest
import torch

from cign.networks.views import View, contrast, describe, saliency, views_of
from refusals import input_error

B, N, D = 7, 5, 4


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_saliency_is_the_formula(power):
    torch.manual_seed(0)
    tokens = torch.randn(B, N, D, dtype=torch.float64)
    found = saliency(tokens, power).numpy()
    for clip, row in zip(tokens.tolist(), found, strict=True):
        mean = [sum(token[d] for token in clip) / N for d in range(D)]
        spread = [sum((token[d] - mean[d]) ** 2 for d in range(D)) ** power for token in clip]
        for value, wanted in zip(row, spread, strict=True):
            assert value == pytest.approx(wanted / sum(spread), abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_contrast_is_the_formula_and_leaves_saliency(share):
    torch.manual_seed(0)
    tokens = torch.randn(B, N, D, dtype=torch.float64)
    found = contrast(tokens, share)
    for clip, less in zip(tokens.numpy(), found.numpy(), strict=True):
        for token, wanted in zip(clip, less, strict=True):
            np.testing.assert_allclose(wanted, token - share * clip.sum(axis=0) / N, atol=1e-12)
    torch.testing.assert_close(saliency(found, 2.0), saliency(tokens, 2.0))


def test_saliency_of_equal_tokens_and_of_tiny_ones():
    same = torch.ones(2, N, D)
    assert torch.allclose(saliency(same, 2.0), torch.full((2, N), 1 / N))
    torch.manual_seed(0)
    tokens = torch.randn(2, N, D)
    assert torch.allclose(saliency(1e-9 * tokens, 4.0), saliency(tokens, 4.0), atol=1e-4)


def random_tokens():
    return torch.from_numpy(np.random.default_rng(2).normal(1.0, 2.0, size=(B, N, D)))


def normalised(vector):
    vector = np.array(vector)
    return (vector - vector.mean()) / np.sqrt(vector.var() + 1e-5)


def signed_root(vector):
    return [np.sqrt(value) if value >= 0 else -np.sqrt(-value) for value in vector]


@pytest.mark.parametrize("normalisation", ["layer", "root"])
def test_vectors_are_the_formulas(normalisation):
    change = signed_root if normalisation == "root" else list
    tokens = random_tokens()
    settings = {"normalisation": normalisation}
    single = View(pooling="tokens", contrast=0.5, **settings).vectors(tokens)
    mean = View(pooling="mean", **settings).vectors(tokens)
    statistics = View(pooling="statistics", **settings).vectors(tokens)
    assert mean.shape == (B, 1, D)
    assert statistics.shape == (B, 1, 3 * D)
    for b, clip in enumerate(tokens.numpy()):
        average = [sum(token[d] for token in clip) / N for d in range(D)]
        for n, token in enumerate(clip):
            less = [token[d] - 0.5 * average[d] for d in range(D)]
            np.testing.assert_allclose(single[b, n], change(less), atol=1e-12)
        np.testing.assert_allclose(mean[b, 0], change(average), atol=1e-12)
        largest = [max(token[d] for token in clip) for d in range(D)]
        deviation = [
            np.sqrt(sum((token[d] - average[d]) ** 2 for token in clip) / N) for d in range(D)
        ]
        parts = [change(normalised(part)) for part in (average, largest, deviation)]
        np.testing.assert_allclose(statistics[b, 0], np.concatenate(parts), atol=1e-12)


def test_shares_sum_to_one():
    tokens = random_tokens()
    salient = View(saliency=2.0).shares(tokens)
    torch.testing.assert_close(salient, saliency(tokens, 2.0))
    torch.testing.assert_close(salient.sum(dim=1), torch.ones(B, dtype=torch.float64))
    for pooling in ("mean", "statistics"):
        assert torch.equal(
            View(pooling=pooling).shares(tokens), torch.ones(B, 1, dtype=torch.float64)
        )


def test_a_view_of_a_clip_does_not_depend_on_other_clips():
    tokens = random_tokens()
    for view in views_of(
        pooling=("tokens", "mean", "statistics"),
        normalisation=("layer", "root"),
        contrast=(0.0, 0.5),
        saliency=(0.0, 2.0),
    ):
        singly = [view.vectors(clip[None]) for clip in tokens]
        torch.testing.assert_close(view.vectors(tokens), torch.cat(singly), rtol=0, atol=1e-14)


def test_options_of_tokens_do_not_multiply_views_without_tokens():
    views = views_of(
        pooling=("mean", "tokens", "statistics"),
        normalisation=("layer",),
        contrast=(0.0, 0.5),
        saliency=(0.0, 2.0),
    )
    assert views[0] == View(pooling="mean")
    assert [view.pooling for view in views] == ["mean", *["tokens"] * 2, "statistics"]
    assert len(set(views)) == 4
    assert describe(views[0]) == {"pooling": "mean", "normalisation": "layer"}
    assert describe(views[1]).keys() == {"pooling", "normalisation", "contrast", "saliency"}


def test_contrast_and_saliency_are_paired():
    def pairs(contrast, saliency, normalisation=("layer",)):
        views = views_of(
            pooling=("tokens",),
            normalisation=normalisation,
            contrast=contrast,
            saliency=saliency,
        )
        return [(view.normalisation, view.contrast, view.saliency) for view in views]

    assert pairs((0.5, 0.0), (2.0, 0.0)) == [("layer", 0.5, 2.0), ("layer", 0.0, 0.0)]
    assert pairs((0.5,), (2.0, 0.0)) == [("layer", 0.5, 2.0), ("layer", 0.5, 0.0)]
    assert pairs((0.5, 0.0), (1.0,)) == [("layer", 0.5, 1.0), ("layer", 0.0, 1.0)]
    assert pairs((0.5, 0.0, 0.0), (2.0, 3.0, 1.0), ("layer", "root")) == [
        *(("layer", 0.5, 2.0), ("layer", 0.0, 3.0), ("layer", 0.0, 1.0)),
        ("root", 0.0, 1.0),
    ]
    with input_error("bad-value", "are pairs"):
        pairs((0.5, 0.0), (2.0, 1.0, 0.0))
    with input_error("bad-value", "different pairs"):
        pairs((0.5, 0.5), (2.0, 2.0))


@pytest.mark.parametrize(
    ("settings", "code", "names"),
    [
        ({"pooling": "max"}, "unknown-name", ("pooling", "'max'")),
        ({"normalisation": "batch"}, "unknown-name", ("normalisation", "'batch'")),
        ({"contrast": 1.5}, "bad-value", ("contrast", "1.5")),
        ({"saliency": -1.0}, "bad-value", ("saliency", "0 or more")),
        ({"saliency": float("inf")}, "bad-value", ("saliency", "inf")),
    ],
)
def test_values_out_of_range_are_refused(settings, code, names):
    with input_error(code, *names):
        View(**settings)
