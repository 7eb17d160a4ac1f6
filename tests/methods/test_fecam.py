"""Mahalanobis distances with one covariance per class against plain NumPy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

from cign.errors import InputError
from cign.networks.mahalanobis import ClassDistances, axes_of
from cign.networks.thin_factor import thin_factor
from pooled_runs import by_name, labels_of, logits, means, run, run_changed
from refusals import run_error
from toy import toy_loop, toy_method

OPTIONS = [
    {},
    {"normalise": False},
    {"power": 1.0},
    {"gamma1": 10.0, "gamma2": 0.0},
    {"gamma1": 1e-3, "gamma2": 5e-4},
    {"gamma1": 2.0, "gamma2": 0.5, "normalise": False, "power": 0.7},
]


def distances(x, labels, y, *, gamma1=1.0, gamma2=1.0, normalise=True):
    """Squared distances by the equations of the paper, one entry at a time."""
    dim, result = x.shape[1], []
    for c in range(labels.max() + 1):
        own = x[labels == c]
        mean = own.mean(axis=0)
        covariance = (own - mean).T @ (own - mean) / (len(own) - 1)
        on = [covariance[i, i] for i in range(dim)]
        off = [covariance[i, j] for i in range(dim) for j in range(dim) if i != j]
        shrunk = np.empty((dim, dim))
        for i in range(dim):
            for j in range(dim):
                more = gamma1 * np.mean(on) if i == j else gamma2 * np.mean(off)
                shrunk[i, j] = covariance[i, j] + more
        if normalise:
            deviation = np.sqrt(np.diag(shrunk))
            shrunk = shrunk / deviation[:, None] / deviation[None, :]
        inverse = np.linalg.inv(shrunk)
        result.append([(row - mean) @ inverse @ (row - mean) for row in y])
    return np.array(result).T


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_distances_are_those_of_the_equations(options, num_tasks):
    loop = run("fecam", num_tasks, temperature=1.0, **options)
    shrinkage = {name: value for name, value in options.items() if name != "power"}
    labels, found = labels_of(loop, loop.train), logits(loop, loop.test)
    sides = []
    for name, x, y in zip(
        ("audio", "visual"), means(loop, loop.train), means(loop, loop.test), strict=True
    ):
        expected = distances(x, labels, y, **shrinkage)
        np.testing.assert_allclose(-16 * found[name], expected, rtol=2e-4)
        within = np.concatenate([x[labels == c] - x[labels == c].mean(axis=0) for c in range(6)])
        scale = np.sqrt(np.square(within).sum() / ((len(x) - 6) * 16))
        sides.append([x / scale, y / scale])
    x, y = (np.hstack(parts) for parts in zip(*sides, strict=True))
    expected = distances(x, labels, y, **shrinkage)
    np.testing.assert_allclose(-32 * found["audio_visual"], expected, rtol=2e-4)


def test_without_shrinkage_they_are_those_of_scikit_learn():
    """Of 40 clips per class, whose covariances have full rank."""
    loop = toy_loop(
        "fecam",
        options={
            "gamma1": 0.0,
            "gamma2": 0.0,
            "normalise": False,
            "power": 1.0,
            "temperature": 1.0,
        },
        per_class=60,
    )
    loop.run()
    loop.method.eval()
    labels, found = labels_of(loop, loop.train), logits(loop, loop.test)
    for name, x, y in zip(
        ("audio", "visual"), means(loop, loop.train), means(loop, loop.test), strict=True
    ):
        # Its covariances are divided by n, ours by n - 1, like those of the analysis below.
        for c in range(6):
            fitted = EmpiricalCovariance().fit(x[labels == c])
            expected = fitted.mahalanobis(y) * 39 / 40
            np.testing.assert_allclose(-16 * found[name][:, c], expected, rtol=1e-3)
        qda = QuadraticDiscriminantAnalysis(store_covariance=True).fit(x, labels)
        # Versions of scikit-learn divide by n - 1 or by n.
        divided = qda.covariance_[0][0, 0] / np.cov(x[labels == 0].T)[0, 0]
        # Its log-likelihoods without the determinants, which the distance does not have.
        determinants = np.array([np.linalg.slogdet(s)[1] for s in qda.covariance_])
        expected = -2 * (qda.decision_function(y) - np.log(1 / 6)) - determinants
        np.testing.assert_allclose(-16 * found[name], divided * expected, rtol=1e-3)


@pytest.mark.parametrize("options", OPTIONS[:2])
def test_tasks_and_class_order_do_not_matter(options):
    at_once = by_name(run("fecam", 1, **options))
    for num_tasks, order in ((2, 0), (3, 1), (6, 2)):
        scores = by_name(run("fecam", num_tasks, order, **options))
        # Both modalities are scaled by variances of the classes so far: all of them, at the end.
        for name, values in scores.items():
            np.testing.assert_allclose(values, at_once[name], atol=1e-4)


@pytest.mark.parametrize("sizes", [(3, 5), (1, 7), (7, 1), (4, 4)])
def test_more_clips_of_a_class_are_joined_exactly(sizes):
    loop = run("fecam", 1)
    data, whole = loop._task_data(0), loop.method
    method = toy_method("fecam")
    method.grow(6)
    (phase,) = method.phases(data)
    labels = labels_of(loop, loop.train)
    first = np.concatenate([loop.train[labels == c][: sizes[0]] for c in range(6)])
    for indices in (first, np.setdiff1d(loop.train, first)):
        part = type(data)(**{**vars(data), "new": indices})
        for batch in data.batches(indices):
            method.learn(batch, phase)
        method.after_task(part)
    for name, x in (("audio", 0), ("visual", 1)):
        rows = means(loop, loop.train)[x]
        for c, (one, two) in enumerate(
            zip(method.factors_of(name).parts(), whole.factors_of(name).parts(), strict=True)
        ):
            torch.testing.assert_close(one.T @ one, two.T @ two, rtol=0, atol=1e-9)
            own = rows[labels == c]
            scatter = (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
            np.testing.assert_allclose((one.T @ one).numpy(), scatter, atol=1e-9)


@pytest.mark.parametrize("rows", [0, 1, 5, 9])
@pytest.mark.parametrize("normalise", [False, True])
def test_axes_are_those_of_the_dense_covariance(rows, normalise):
    rng = np.random.default_rng(rows)
    factor = rng.normal(size=(rows, 8)) * rng.uniform(0.1, 3.0, size=8)
    module = ClassDistances(8).double()
    module.grow(1)
    mean = rng.normal(size=(8, 1))
    factor = thin_factor(torch.from_numpy(factor))
    solution = module.solution(
        [factor],
        torch.from_numpy(mean),
        torch.ones(8).double(),
        gammas=(0.7, 0.4),
        normalise=normalise,
        variance=2.5,
        what="x",
    )
    module.use(solution)
    covariance = (factor.T @ factor).numpy()
    on = covariance.trace() / 8
    off = (covariance.sum() - covariance.trace()) / 56
    shrunk = covariance + 0.4 * off * (1 - np.eye(8)) + 0.7 * (on or 2.5) * np.eye(8)
    if normalise:
        shrunk /= np.sqrt(np.outer(np.diag(shrunk), np.diag(shrunk)))
    y = rng.normal(size=(6, 8))
    expected = np.einsum("nd,de,ne->n", y - mean.T, np.linalg.inv(shrunk), y - mean.T)
    np.testing.assert_allclose(module(torch.from_numpy(y))[:, 0].numpy(), expected, rtol=1e-9)


def test_a_covariance_that_is_not_positive_definite_is_refused():
    for options in ({"gamma1": 0.0, "gamma2": 0.0}, {"gamma1": 0.0, "gamma2": 5.0}):
        with run_error("singular", "audio", "gamma1", "gamma2"):
            run("fecam", **options)
    with run_error("singular", "gamma1"):
        axes_of(torch.zeros(0, 4).double(), (0.0, 0.0), normalise=True, variance=1.0, what="x")
    for options, message in (
        ({"gamma1": -1.0}, r"gamma1 -1.0 must be in \[0, 1e\+06\]"),
        ({"power": 0.0}, r"power 0.0 must be in \(0, 1\]"),
        ({"power": 2.0}, r"power 2.0 must be in \(0, 1\]"),
    ):
        with pytest.raises(InputError, match=message):
            toy_method("fecam", options)


def test_clips_of_several_labels_are_refused():
    with pytest.raises(InputError, match="fecam takes clips of one label"):
        toy_method("fecam", multi_label=True)


def test_a_class_of_identical_clips_has_the_variance_of_the_others():
    def same(labels, audio, visual):
        audio[labels == 2] = audio[labels == 2][0]

    loop = run_changed("fecam", same, num_tasks=1, normalise=False, gamma2=0.0, temperature=1.0)
    labels, (x, _), (y, _) = (
        labels_of(loop, loop.train),
        means(loop, loop.train),
        means(loop, loop.test),
    )
    index = loop.clips.tasks.class_order.index("class 2")
    assert loop.method.factors_of("audio").ranks[index] == 0
    within = np.concatenate([x[labels == c] - x[labels == c].mean(axis=0) for c in range(6)])
    variance = np.square(within).sum() / ((len(x) - 6) * 16)
    mean = x[labels == index].mean(axis=0)
    expected = np.square(y - mean).sum(axis=1) / variance
    found = -16 * logits(loop, loop.test)["audio"][:, index]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_states_whose_ranks_do_not_fit_their_rows_are_refused():
    state = run("fecam").method.state_dict()
    other = toy_method("fecam")
    for _ in range(3):
        other.grow(2)
    ranks = state["factors.audio.ranks"]
    for odd in (ranks + 1, -ranks, ranks[:-1], ranks.sum()):
        other.make_room({**state, "factors.audio.ranks": odd})
        with pytest.raises(RuntimeError, match="size mismatch"):
            other.load_state_dict({**state, "factors.audio.ranks": odd})
    other.make_room(state)
    other.load_state_dict(state)


def test_state_bytes_are_those_of_sums_and_factors():
    loop = run("fecam")
    sums = sum(8 * (dim + 2) * (6 + 1) for dim in (16, 16, 32))
    factors = sum(8 * 6 * 7 * dim + 8 * 6 for dim in (16, 16, 32))  # 8 clips a class: rank 7
    assert loop.method.state_bytes == sums + factors


def test_a_removed_class_leaves_no_trace_in_a_single_modality():
    loop, without = run("fecam"), toy_loop("fecam", options={})
    without.train = without.train[labels_of(without, without.train) != 3]
    without.run()
    without.method.eval()
    loop.method.remove_class(3)
    ours, theirs = logits(loop, loop.test), logits(without, loop.test)
    for name, values in ours.items():
        np.testing.assert_allclose(values, np.delete(theirs[name], 3, axis=1), rtol=1e-3, atol=1e-4)
