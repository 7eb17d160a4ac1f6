"""Ridge regression on random features against scikit-learn, and its selection of the strength."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cign.errors import InputError
from cign.methods.ranpac import POWERS
from cign.networks.thin_factor import ridge_errors, ridge_solution, thin_factor
from pooled_runs import by_name, labels_of, logits, means, multi_label, run
from refusals import input_error
from toy import toy_method

# Fewer features than clips, about as many, and more.
WIDTHS = (20, 48, 300)
NAMES = ("audio", "visual", "audio_visual")


def random_features(loop, indices):
    """Random features of each modality in float64, by NumPy from the projections alone."""
    projected = []
    for name, x in zip(NAMES[:2], means(loop, indices), strict=True):
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + 1e-5)
        projected.append(x @ loop.method.projections[name].projection.double().numpy().T)
    projected.append(sum(projected) / np.sqrt(2))
    return dict(zip(NAMES, (np.maximum(p, 0) for p in projected), strict=True))


def sklearn_ridge(x, targets, ridge):
    return Ridge(alpha=ridge, fit_intercept=False, solver="svd").fit(x, targets)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("num_tasks", "order"), [(1, 0), (3, 0), (6, 1)])
def test_the_solution_is_that_of_scikit_learn(width, num_tasks, order):
    loop = run("ranpac", num_tasks, order, width=width, ridge=(1.0, 10.0, 100.0))
    targets = np.eye(6)[labels_of(loop, loop.train)]
    train, test = random_features(loop, loop.train), random_features(loop, loop.test)
    found = logits(loop, loop.test)
    for name in NAMES:
        strength = loop.method.selected[name]["ridge"]
        assert strength == loop.method.ridge_strength(name)
        ridge = sklearn_ridge(train[name], targets, strength)
        largest = np.abs(ridge.coef_).max()
        weights = loop.method.of(name).weights.numpy()
        np.testing.assert_allclose(weights, ridge.coef_.T, rtol=0, atol=1e-5 * largest)
        np.testing.assert_allclose(found[name], ridge.predict(test[name]) / 0.1, atol=1e-3)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_strength_solves_all_tasks_as_at_once(width):
    at_once = by_name(run("ranpac", 1, width=width, ridge=(10.0,)))
    for num_tasks, order in ((2, 0), (3, 1), (6, 2)):
        scores = by_name(run("ranpac", num_tasks, order, width=width, ridge=(10.0,)))
        for name, values in scores.items():
            np.testing.assert_allclose(values, at_once[name], atol=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_factor_is_that_of_the_gram_matrix(width):
    loop = run("ranpac", width=width)
    for name, x in random_features(loop, loop.train).items():
        factor = loop.method.of(name).factor.numpy()
        assert len(factor) == min(len(loop.train), width)
        gram = x.T @ x
        np.testing.assert_allclose(factor.T @ factor, gram, rtol=0, atol=1e-6 * gram.max())
        np.testing.assert_allclose(
            loop.method.sums(name).sums.numpy(),
            x.T @ np.eye(6)[labels_of(loop, loop.train)],
            rtol=0,
            atol=1e-5 * np.abs(x).sum(),
        )
        # No row is that of a clip.
        apart = np.linalg.norm(factor[:, None] - x, axis=2).min()
        assert apart > 0.1 * np.linalg.norm(x, axis=1).mean()


@pytest.mark.parametrize("ridges", [POWERS, (0.1, 1e4)])
def test_the_strength_is_the_best_on_a_fifth_of_the_last_tasks_clips(ridges):
    loop = run("ranpac", width=100, ridge=ridges)
    data = loop._task_data(2)
    held = loop.method.held_out(data)
    assert held.sum() == len(data.new) // 5 == 3
    assert (held == loop.method.held_out(data)).all()
    fitted = np.setdiff1d(loop.train, data.new[held])
    targets = np.eye(6)
    x, y = random_features(loop, fitted), random_features(loop, data.new[held])
    for name in NAMES:
        errors = []
        for ridge in ridges:
            model = sklearn_ridge(x[name], targets[labels_of(loop, fitted)], ridge)
            wrong = model.predict(y[name]) - targets[labels_of(loop, data.new[held])]
            errors.append(np.square(wrong).mean())
        chosen = errors[int(loop.method.of(name).chosen)]
        assert chosen <= min(errors) * (1 + 1e-6)
        assert chosen < 0.9 * max(errors)


def test_random_draws_depend_on_the_seed_alone_and_differ_between_tasks():
    loop, other = run("ranpac", width=20), run("ranpac", width=20, projection_seed=1)
    data = [loop._task_data(task) for task in range(3)]
    held = [loop.method.held_out(one) for one in data]
    assert any((one != two).any() for one, two in pairwise(held))
    assert any(
        (other.method.held_out(one) != two).any() for one, two in zip(data, held, strict=True)
    )
    audio = [one.method.projections["audio"].projection for one in (loop, other)]
    assert not torch.equal(*audio)


def test_several_labels_are_regressed_on_zero_and_one():
    method, tokens, _, targets = multi_label("ranpac", 3, width=60, ridge=(1.0,))
    with torch.no_grad():
        output = method.predict(*tokens)
        features, _ = method.pooled(*tokens)
        rows = {name: method.rows(name, features[name]).double().numpy() for name in NAMES}
    known = np.array([2, 2, 4, 4, 6, 6])[np.repeat(np.arange(6), 12)]
    seen = targets & (np.arange(6) < known[:, None])  # later classes are no labels yet
    for name, x in rows.items():
        expected = (sklearn_ridge(x, seen.astype(float), 1.0).predict(x) - 0.5) / 0.1
        np.testing.assert_allclose(output.logits[name].numpy(), expected, atol=1e-3)
        np.testing.assert_allclose(
            output.probabilities[name].numpy(), 1 / (1 + np.exp(-expected)), atol=1e-3
        )


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (7, 7), (0, 4), (1, 1)])
def test_a_thin_factor_has_the_gram_matrix_of_the_rows(shape):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    factor = thin_factor(rows)
    assert factor.shape == (min(shape), shape[1])
    torch.testing.assert_close(factor.T @ factor, rows.T @ rows)
    products = factor @ factor.T
    torch.testing.assert_close(products, torch.diag(products.diagonal()), rtol=0, atol=1e-10)
    assert len(thin_factor(torch.cat([rows, rows]))) == min(shape)  # repeated rows add no rank


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)])
def test_solutions_and_errors_of_all_strengths_from_one_factor(shape):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=shape), rng.normal(size=(shape[0], 3))
    z, w = rng.normal(size=(4, shape[1])), rng.normal(size=(4, 3))
    factor, cross = thin_factor(torch.from_numpy(x)), torch.from_numpy(x.T @ y)
    ridges = (1e-3, 1.0, 1e3)
    errors = ridge_errors(factor, cross, torch.from_numpy(z), torch.from_numpy(w), ridges)
    for ridge, error in zip(ridges, errors.tolist(), strict=True):
        expected = np.linalg.solve(x.T @ x + ridge * np.eye(shape[1]), x.T @ y)
        found = ridge_solution(factor, cross, ridge).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
        assert error == pytest.approx(np.square(z @ expected - w).mean(), rel=1e-8)


def test_state_bytes_are_those_of_sums_and_factors():
    loop = run("ranpac", width=300)
    sums, factors = 3 * 8 * (300 + 2) * (6 + 1), 3 * (8 * len(loop.train) * 300 + 8)
    assert loop.method.state_bytes == sums + factors


def test_a_removed_class_leaves_the_others_as_they_were():
    loop = run("ranpac", width=60)
    before = {name: loop.method.of(name).weights.clone() for name in NAMES}
    scores = logits(loop, loop.test)
    loop.method.remove_class(1)
    for name, values in logits(loop, loop.test).items():
        kept = np.delete(before[name].numpy(), 1, axis=1)
        np.testing.assert_array_equal(loop.method.of(name).weights.numpy(), kept)
        np.testing.assert_allclose(values, np.delete(scores[name], 1, axis=1), atol=1e-5)
    loop.method.solve()
    for name in NAMES:
        kept = np.delete(before[name].numpy(), 1, axis=1)
        np.testing.assert_allclose(loop.method.of(name).weights.numpy(), kept, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"width": 0}, ("width", 0)),
        ({"projection_seed": -1}, ("projection_seed", "-1")),
        ({"ridge": []}, ("ridge",)),
        ({"ridge": [1.0, 1.0]}, ("ridge",)),
        ({"ridge": [0.0]}, ("ridge", "0.0")),
    ],
)
def test_options_without_meaning_are_refused(options, names):
    with input_error("bad-value", *names):
        toy_method("ranpac", options)


def test_a_choice_that_is_not_there_is_refused():
    method = run("ranpac", width=20).method
    method.of("audio").chosen.fill_(17)
    with pytest.raises(InputError, match="choose ridge strength 17 of 17"):
        method.solve()
