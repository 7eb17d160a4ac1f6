"""Weights of clips, shares of labels and background in the sums, against copies of clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from cign.methods.sums import add_sums, same_sums
from cign.vocabulary import UNIMODAL
from summed import NUM_CLASSES, batch, clips, relative
from toy import FIXED, toy_method

NAMES = ["analytic", "cign_analytic"]
EXACT = 1e-12


def method_of(name, **options):
    options = {**FIXED[name], "width": 24, "precision": "float64", **options}
    method = toy_method(name, options).eval()
    method.grow(NUM_CLASSES)
    return method


def some(seed=1, per_class=3):
    return batch(*clips(seed, per_class))


def rows_of(one, rows):
    """Clips of a batch, as often as ``rows`` names them."""
    rows = torch.as_tensor(rows)
    parts = {
        field: getattr(one, field)[rows]
        for field in (
            "audio",
            "visual",
            "targets",
            "from_memory",
            "weights",
            "shares",
            "background",
        )
        if getattr(one, field) is not None
    }
    return replace(one, **parts, indices=rows.numpy())


def without_labels(one):
    """The same clips as background."""
    nothing = torch.zeros_like(one.targets)
    return replace(one, targets=nothing, background=torch.ones(len(nothing), dtype=torch.bool))


def absorbed(name, *batches):
    method = method_of(name)
    for one in batches:
        method.absorb(one)
    return method


def assert_equal(found, wanted, tolerance=EXACT, factor=1.0):
    """Compare what two methods fit: G + G_b, Q and the numbers of clips."""
    for modality in UNIMODAL:
        for mine, theirs in zip(
            found.of(modality).statistics, wanted.of(modality).statistics, strict=True
        ):
            for share in {0.0, 0.4} if len(theirs.kinds) > 1 else {0.0}:
                gram, other = (x.fitted_gram(share).tril() for x in (mine, theirs))
                assert relative(gram, factor * other) <= tolerance
                assert relative(mine.cross(share), factor * theirs.cross(share)) <= tolerance
    assert relative(found.class_clips, factor * wanted.class_clips) <= tolerance


def weighted(one, weight):
    return replace(one, weights=torch.full((len(one.targets),), weight, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_of_weight_one_half_given_twice_is_the_clip(name):
    one = some()
    half = weighted(one, 0.5)
    assert_equal(absorbed(name, half, half), absorbed(name, one))
    ones = weighted(one, 1.0)
    assert_equal(absorbed(name, ones), absorbed(name, one))


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_a_weight(name):
    one = some()
    numbers = torch.arange(len(one.targets)) % 3 + 1
    copies = rows_of(one, torch.arange(len(numbers)).repeat_interleave(numbers))
    weights = replace(one, weights=numbers.to(torch.float64))
    assert_equal(absorbed(name, weights), absorbed(name, copies))


@pytest.mark.parametrize("name", NAMES)
def test_a_share_is_copies_with_and_without_the_label(name):
    one = some()
    uncertain = replace(one, shares=0.7 * one.targets.to(torch.float64))
    copies = [one] * 7 + [without_labels(one)] * 3
    assert_equal(absorbed(name, *copies), absorbed(name, uncertain), factor=10.0)


@pytest.mark.parametrize("name", NAMES)
def test_shares_of_two_labels_are_copies_with_each(name):
    one = some()
    other = one.targets.roll(1, dims=1)
    shares = 0.7 * one.targets.to(torch.float64) + 0.3 * other.to(torch.float64)
    uncertain = replace(one, targets=one.targets | other, shares=shares)
    copies = [one] * 7 + [replace(one, targets=other)] * 3
    assert_equal(absorbed(name, *copies), absorbed(name, uncertain), factor=10.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_is_weighted_ridge_regression(name):
    """Compare with the weighted ridge regression of another package, background included."""
    one = some(1, 4)
    count = len(one.targets)
    draw = np.random.default_rng(3)
    weights = torch.from_numpy(draw.uniform(0.1, 1.0, count))
    shares = torch.from_numpy(draw.uniform(0.2, 1.0, (count, NUM_CLASSES))) * one.targets
    is_background = torch.arange(count) % 4 == 0
    shares[is_background] = 0.0
    one = replace(
        one,
        weights=weights,
        shares=shares,
        targets=shares > 0,
        background=is_background,
    )
    method = absorbed(name, one)
    method.solve()
    for modality, tokens in zip(UNIMODAL, (one.audio, one.visual), strict=True):
        ridge = method.of(modality)
        setting = ridge.setting
        sums = ridge.statistics_of(setting.view)
        rows, roots = zip(
            *(
                sums.fitted_rows(features, share, setting.token_share)
                for features, share in ridge.pieces(setting.view, tokens)
            ),
            strict=True,
        )
        rows, roots = torch.cat(rows), torch.cat(roots)  # [B, k, W] and [B, k]
        number = rows.shape[1]
        labels = roots.unsqueeze(-1) * shares.unsqueeze(1)
        wanted = Ridge(alpha=setting.ridge, fit_intercept=False, solver="cholesky").fit(
            rows.flatten(0, 1).numpy(),
            labels.flatten(0, 1).numpy(),
            sample_weight=weights.repeat_interleave(number).numpy(),
        )
        assert relative(ridge.weights.double(), torch.from_numpy(wanted.coef_.T)) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_background_is_apart_from_the_classes(name):
    one = some(1)
    alone, both = absorbed(name, one), absorbed(name, one, without_labels(some(2)))
    names = [key for key in alone.state_dict() if not key.startswith("records.")]
    assert not any("background" in key for key in names)
    for modality in UNIMODAL:
        assert torch.equal(both.gram(modality), alone.gram(modality))
        assert torch.equal(both.cross(modality), alone.cross(modality))
        fitted = both.of(modality).fitted_gram.tril() - alone.gram(modality).tril()
        only = absorbed(name, some(2))
        assert relative(fitted, only.gram(modality).tril()) <= EXACT
    assert torch.equal(both.class_clips, alone.class_clips)
    assert (alone.num_background, both.num_background) == (0, len(some(2).targets))


@pytest.mark.parametrize("name", NAMES)
def test_background_in_the_batch_of_other_clips(name):
    one, background = some(1), without_labels(some(2))
    fields = ("audio", "visual", "targets", "from_memory")
    mixed = replace(
        one,
        **{x: torch.cat([getattr(one, x), getattr(background, x)]) for x in fields},
        background=torch.cat(
            [torch.zeros(len(one.targets), dtype=torch.bool), background.background]
        ),
        indices=np.arange(len(one.targets) + len(background.targets)),
    )
    shuffled = rows_of(mixed, torch.randperm(len(mixed.targets)))
    found, wanted = absorbed(name, shuffled), absorbed(name, one, background)
    assert_equal(found, wanted)
    for modality in UNIMODAL:
        assert relative(found.gram(modality).tril(), wanted.gram(modality).tril()) <= EXACT
    assert found.num_background == wanted.num_background


@pytest.mark.parametrize("name", NAMES)
def test_a_state_with_background_is_loaded(name):
    method = absorbed(name, some(1), weighted(without_labels(some(2)), 0.25))
    loaded = method_of(name)
    loaded.make_room(method.state_dict())
    loaded.load_state_dict(method.state_dict())
    assert same_sums(loaded, method)
    assert loaded.num_background == method.num_background == len(some(2).targets) / 4
    assert not same_sums(loaded, absorbed(name, some(1)))


PARTS = st.lists(
    st.tuples(
        st.integers(0, 4),  # the clips
        st.sampled_from([None, 0.25, 0.3, 1.0]),  # their weight
        st.sampled_from(["certain", "shares", "background"]),
    ),
    min_size=1,
    max_size=5,
)


def part(seed, weight, kind):
    one = some(seed, 1)
    if weight is not None:
        one = weighted(one, weight)
    if kind == "shares":
        other = one.targets.roll(1, dims=1)
        shares = 0.6 * one.targets.to(torch.float64) + 0.1 * other.to(torch.float64)
        return replace(one, targets=one.targets | other, shares=shares)
    return without_labels(one) if kind == "background" else one


@settings(max_examples=40, deadline=None)
@given(parts=PARTS, order=st.randoms(use_true_random=False), merged=st.booleans())
def test_the_order_of_additions_does_not_matter(parts, order, merged):
    shuffled = list(parts)
    order.shuffle(shuffled)
    wanted = absorbed("cign_analytic", some(9), *(part(*one) for one in parts))
    if merged:  # the sums of two methods, in either order
        cut = order.randint(0, len(shuffled))
        found = absorbed("cign_analytic", *(part(*one) for one in shuffled[:cut]))
        more = absorbed("cign_analytic", *(part(*one) for one in shuffled[cut:]), some(9))
        add_sums(found, more, range(NUM_CLASSES))
    else:
        found = absorbed("cign_analytic", *(part(*one) for one in shuffled), some(9))
    assert_equal(found, wanted, 1e-10)
    assert found.num_background == pytest.approx(wanted.num_background, rel=1e-10)
    for modality in UNIMODAL:
        assert relative(found.gram(modality).tril(), wanted.gram(modality).tril()) <= 1e-10
    for method in (found, wanted):
        method.solve()
    for modality in UNIMODAL:
        assert relative(found.of(modality).weights, wanted.of(modality).weights) <= 1e-5
