"""Streaming LDA against scikit-learn and a streaming loop written from the paper."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cign.errors import InputError
from cign.methods.base import Batch
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.slda import SldaOptions
from cign.networks.discriminant import one_against_rest, shared_covariance
from pooled_runs import by_name, labels_of, logits, means, multi_label, run
from refusals import run_error
from toy import toy_loop, toy_method, toy_tokens

ABSORB = Phase(name="s", indices=np.arange(0), options=TrainingOptions(), updates=False)


def decisions(loop, modality):
    """Weights and bias of the method in float64, for features relative to the mean of all clips."""
    one = loop.method
    sums = one.sums(modality)
    weights, bias = one._solution(modality)
    return weights.numpy(), bias.numpy(), sums.mean.numpy()


def sklearn_lda(x, labels, shrinkage):
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, labels)


def centred(scores):
    """Scores up to a constant per clip, which does not matter to any class."""
    return scores - scores.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("shrinkage", "num_tasks", "order"),
    # Without shrinkage a covariance of few clips, as after the first of several tasks, is singular.
    [(0.0, 1, 0), *((s, *tasks) for s in (1e-4, 0.3, 1.0) for tasks in ((1, 0), (3, 0), (6, 1)))],
)
def test_decision_values_are_those_of_scikit_learn(shrinkage, num_tasks, order):
    options = {"shrinkage": shrinkage, "prior": "counts", "temperature": 1.0}
    loop = toy_loop("slda", options=options, num_tasks=num_tasks, order=order)
    loop.train = loop.train[:-3]  # classes of unequal size have unequal priors
    loop.run()
    labels = labels_of(loop, loop.train)
    train, test = means(loop, loop.train), means(loop, loop.test)
    found = logits(loop, loop.test)
    for name, x, y in zip(("audio", "visual"), train, test, strict=True):
        lda = sklearn_lda(x, labels, shrinkage)
        weights, bias, origin = decisions(loop, name)
        ours, theirs = centred((y - origin) @ weights + bias), centred(lda.decision_function(y))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
        # In prediction, float32 and probabilities.
        np.testing.assert_allclose(centred(found[name]), theirs, atol=1e-4 * np.abs(theirs).max())
        probabilities = loop.predictions.scores[-1][name]
        np.testing.assert_allclose(probabilities, lda.predict_proba(y), atol=1e-4)


@pytest.mark.parametrize("shrinkage", [1e-4, 0.5])
def test_both_modalities_are_scaled_alike_and_given_to_lda(shrinkage):
    loop = run("slda", shrinkage=shrinkage, prior="counts", temperature=1.0)
    labels = labels_of(loop, loop.train)
    train, test = [], []
    for x, y in zip(means(loop, loop.train), means(loop, loop.test), strict=True):
        within = np.concatenate([x[labels == c] - x[labels == c].mean(axis=0) for c in range(6)])
        scale = np.sqrt(np.square(within).mean())
        train.append(x / scale)
        test.append(y / scale)
    lda = sklearn_lda(np.hstack(train), labels, shrinkage)
    theirs = centred(lda.decision_function(np.hstack(test)))
    ours = centred(logits(loop, loop.test)["audio_visual"])
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def stream(x, labels, exact):
    """Means and covariance by the paper's updates, a clip at a time.

    The paper weights the outer product by t / (t + 1), t the clips seen so far of all classes.
    The scatter around class means is exact if t is instead the number of clips of the class.
    """
    num_classes, dim = labels.max() + 1, x.shape[1]
    mean, counts = np.zeros((num_classes, dim)), np.zeros(num_classes)
    covariance = np.zeros((dim, dim))
    for total, (row, label) in enumerate(zip(x, labels, strict=True)):
        seen = counts[label] if exact else total
        apart = row - mean[label]
        delta = seen / (seen + 1) * np.outer(apart, apart)
        covariance = (total * covariance + delta) / (total + 1)
        mean[label] = (counts[label] * mean[label] + row) / (counts[label] + 1)
        counts[label] += 1
    return mean, covariance


@pytest.mark.parametrize("seed", [0, 1])
def test_sums_give_the_covariance_of_a_stream_in_any_order(seed):
    loop = run("slda")
    labels, order = labels_of(loop, loop.train), np.random.default_rng(seed).permutation(48)
    for name, x in zip(("audio", "visual"), means(loop, loop.train), strict=True):
        mean, covariance = stream(x[order], labels[order], exact=True)
        found, scales = loop.method.covariance(name)
        assert (scales == 1).all()
        np.testing.assert_allclose(found.numpy(), covariance, atol=1e-10)
        np.testing.assert_allclose(loop.method.sums(name).means.numpy().T, mean, atol=1e-10)


def test_the_papers_recursion_predicts_the_same_classes():
    """Its covariance counts the first clip of each class around 0, and later ones a little more."""
    loop = run("slda", shrinkage=0.1)
    labels, found = labels_of(loop, loop.train), logits(loop, loop.test)
    for name, x, y in zip(
        ("audio", "visual"), means(loop, loop.train), means(loop, loop.test), strict=True
    ):
        mean, covariance = stream(x, labels, exact=False)
        level = np.trace(covariance) / len(covariance)
        inverse = np.linalg.inv(0.9 * covariance + 0.1 * level * np.eye(len(covariance)))
        scores = y @ inverse @ mean.T - 0.5 * np.einsum("cd,de,ce->c", mean, inverse, mean)
        assert (scores.argmax(axis=1) == found[name].argmax(axis=1)).mean() >= 0.95


@pytest.mark.parametrize("sizes", [[1] * 72, [2, 70], [72]])
def test_batches_do_not_matter(sizes):
    labels, audio, visual = toy_tokens()
    order = np.random.default_rng(3).permutation(72)
    method, whole = toy_method("slda"), toy_method("slda")
    method.grow(6)
    whole.grow(6)
    for one, parts in ((method, np.split(order, np.cumsum(sizes)[:-1])), (whole, [np.arange(72)])):
        for some in parts:
            batch = Batch(
                audio=torch.from_numpy(audio[some]),
                visual=torch.from_numpy(visual[some]),
                targets=torch.eye(6)[labels[some]].bool(),
                from_memory=torch.zeros(len(some), dtype=torch.bool),
                indices=some,
            )
            one.learn(batch, ABSORB)
        one.solve()
    for name, value in method.state_dict().items():
        largest = value.abs().max().item()
        torch.testing.assert_close(
            value, whole.state_dict()[name], rtol=0, atol=1e-6 * largest, msg=name
        )


@pytest.mark.parametrize("prior", ["none", "counts"])
def test_tasks_and_class_order_do_not_matter(prior):
    at_once = by_name(run("slda", 1, prior=prior))
    for num_tasks, order in ((2, 0), (3, 1), (6, 2)):
        for name, scores in by_name(run("slda", num_tasks, order, prior=prior)).items():
            np.testing.assert_allclose(scores, at_once[name], atol=1e-4)


@pytest.mark.parametrize("prior", ["none", "counts"])
def test_several_labels_are_one_against_rest_lda(prior):
    method, tokens, parts, targets = multi_label(
        "slda", shrinkage=0.0, prior=prior, temperature=1.0
    )
    with torch.no_grad():
        output = method.predict(*tokens)
    for name, x in zip(("audio", "visual"), parts, strict=True):
        for c, label in enumerate(targets.T):
            own, rest = x[label].mean(axis=0), x[~label].mean(axis=0)
            within = np.where(label[:, None], x - own, x - rest)
            inverse = np.linalg.inv(within.T @ within / len(x))
            expected = (x - (own + rest) / 2) @ inverse @ (own - rest)
            if prior == "counts":
                expected = expected + np.log(label.mean() / (1 - label.mean()))
                lda = sklearn_lda(x, label, None)
                np.testing.assert_allclose(expected, lda.decision_function(x), rtol=1e-6)
            largest = np.abs(expected).max()
            np.testing.assert_allclose(
                output.logits[name][:, c].numpy(), expected, atol=1e-4 * largest
            )


def test_a_covariance_that_is_singular_is_refused():
    with run_error("singular", "audio", "shrinkage"):
        run("slda", 6, shrinkage=0.0)  # eight clips of one class have no covariance of rank 16
    with pytest.raises(InputError, match=r"shrinkage 1.5 must be in \[0, 1\]"):
        toy_method("slda", {"shrinkage": 1.5})
    with pytest.raises(InputError, match="unknown prior 'flat': use one of none, counts"):
        SldaOptions(prior="flat")


def test_functions_of_a_covariance_that_is_the_identity_are_distances():
    rng = np.random.default_rng(0)
    means_, x = torch.from_numpy(rng.normal(size=(4, 3))), torch.from_numpy(rng.normal(size=(5, 4)))
    weights, bias = shared_covariance(means_, torch.zeros(4, 4).double(), 0.5, "x")
    expected = (
        -0.5 * (x[:, :, None] - means_).square().sum(dim=1) + 0.5 * x.square().sum(1)[:, None]
    )
    torch.testing.assert_close(x @ weights + bias, expected)
    shares = torch.full((3,), 0.5).double()
    identity = torch.eye(4).double()
    with run_error("singular", "within a class"):  # between classes there is more than in all
        one_against_rest(10 * means_, -10 * means_, shares, identity, 0.0, "x")


def test_state_bytes_are_those_of_sums_and_moments():
    loop = run("slda")
    sums = sum(8 * (dim + 2) * (6 + 1) for dim in (16, 16, 32))
    moments = sum(8 * (dim * dim + 1) for dim in (16, 16, 32))
    assert loop.method.state_bytes == sums + moments


def test_a_removed_class_leaves_its_scatter_alone():
    loop = run("slda")
    labels = labels_of(loop, loop.train)
    loop.method.remove_class(2)
    x = means(loop, loop.train)[0]
    within = np.concatenate([x[labels == c] - x[labels == c].mean(axis=0) for c in range(6)])
    found = loop.method.covariance("audio")[0].numpy()
    np.testing.assert_allclose(found, within.T @ within / len(x), atol=1e-10)
    assert loop.method.class_counts == [2, 1, 2]
    kept = [0, 1, 3, 4, 5]
    scores = logits(loop, loop.test)["audio_visual"]
    test_labels = labels_of(loop, loop.test)
    some = np.isin(test_labels, kept)
    right = np.array(kept)[scores.argmax(axis=1)[some]] == test_labels[some]
    assert right.mean() > 0.9
