"""Nearest class mean against plain loops and scikit-learn's NearestCentroid."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestCentroid

from cign.errors import InputError
from cign.methods.ncm import NcmOptions
from pooled_runs import by_name, labels_of, logits, means, multi_label, run
from toy import toy_loop, toy_method


def cosine(x, y):
    return 1.0 - cdist(x, y, "cosine")


def class_means(x, labels):
    return np.stack([x[labels == c].mean(axis=0) for c in range(labels.max() + 1)])


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_cosines_to_class_means_are_those_of_scipy(centre, num_tasks):
    loop = run("ncm", num_tasks, centre=centre, temperature=0.2)
    train, test = means(loop, loop.train), means(loop, loop.test)
    labels, found = labels_of(loop, loop.train), logits(loop, loop.test)
    each = []
    for name, x, y in zip(("audio", "visual"), train, test, strict=True):
        origin = x.mean(axis=0) if centre else 0.0
        each.append(cosine(y - origin, class_means(x, labels) - origin))
        np.testing.assert_allclose(found[name], each[-1] / 0.2, atol=2e-5)
    # Side by side, each of length 1: scipy on the vectors themselves.
    sides = []
    for x, y in zip(train, test, strict=True):
        origin = x.mean(axis=0) if centre else 0.0
        pair = (y - origin, class_means(x, labels) - origin)
        sides.append([v / np.linalg.norm(v, axis=1, keepdims=True) for v in pair])
    both = cosine(*(np.hstack(parts) for parts in zip(*sides, strict=True)))
    np.testing.assert_allclose(found["audio_visual"], both / 0.2, atol=2e-5)


@pytest.mark.parametrize("num_tasks", [1, 3])
def test_the_nearest_mean_is_that_of_scikit_learn(num_tasks):
    loop = run("ncm", num_tasks, metric="euclidean", temperature=0.5)
    train, test = means(loop, loop.train), means(loop, loop.test)
    labels, found = labels_of(loop, loop.train), logits(loop, loop.test)
    scaled = []
    for name, x, y in zip(("audio", "visual"), train, test, strict=True):
        variance = np.square(x - x.mean(axis=0)).sum(axis=1).mean()
        distances = cdist(y, class_means(x, labels), "sqeuclidean")
        np.testing.assert_allclose(found[name], -distances / variance / 0.5, rtol=1e-4)
        expected = NearestCentroid().fit(x, labels).predict(y)
        np.testing.assert_array_equal(found[name].argmax(axis=1), expected)
        scaled.append([x / np.sqrt(variance), y / np.sqrt(variance)])
    x, y = (np.hstack([scaled[0][i], scaled[1][i]]) for i in (0, 1))
    distances = cdist(y, class_means(x, labels), "sqeuclidean")
    np.testing.assert_allclose(found["audio_visual"], -distances / 2 / 0.5, rtol=1e-4)
    expected = NearestCentroid().fit(x, labels).predict(y)
    np.testing.assert_array_equal(found["audio_visual"].argmax(axis=1), expected)


@pytest.mark.parametrize("options", [{}, {"centre": True}, {"metric": "euclidean"}, {"power": 0.5}])
def test_tasks_and_class_order_do_not_matter(options):
    at_once = by_name(run("ncm", 1, **options))
    for num_tasks, order in ((2, 0), (3, 1), (6, 2)):
        for name, scores in by_name(run("ncm", num_tasks, order, **options)).items():
            np.testing.assert_allclose(scores, at_once[name], atol=1e-5)


def test_features_are_means_over_tokens_with_signed_powers():
    plain, rooted = run("ncm"), run("ncm", power=0.5, temperature=1.0)
    for raw, found, powered in zip(
        plain.source.read(plain.test),
        means(plain, plain.test),
        means(rooted, plain.test),
        strict=True,
    ):
        expected = raw.double().numpy().mean(axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(powered, np.sign(found) * np.sqrt(np.abs(found)), atol=1e-6)
    x, y = means(rooted, rooted.train)[0], means(rooted, rooted.test)[0]
    expected = cosine(y, class_means(x, labels_of(rooted, rooted.train)))
    np.testing.assert_allclose(logits(rooted, rooted.test)["audio"], expected, atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_several_labels_compare_with_the_clips_without_the_class(metric):
    method, tokens, parts, targets = multi_label("ncm", metric=metric, temperature=1.0)
    with torch.no_grad():
        output = method.predict(*tokens)
    for name, x in zip(("audio", "visual"), parts, strict=True):
        expected = np.zeros(targets.shape)
        for c in range(6):
            own, rest = x[targets[:, c]].mean(axis=0), x[~targets[:, c]].mean(axis=0)
            for n, row in enumerate(x):
                if metric == "cosine":
                    pair = [row @ m / np.linalg.norm(row) / np.linalg.norm(m) for m in (own, rest)]
                    expected[n, c] = pair[0] - pair[1]
                else:
                    expected[n, c] = np.square(row - rest).sum() - np.square(row - own).sum()
        if metric == "euclidean":
            expected /= np.square(x - x.mean(axis=0)).sum(axis=1).mean()
        np.testing.assert_allclose(output.logits[name].numpy(), expected, atol=2e-5)
        probabilities = 1.0 / (1.0 + np.exp(-expected))
        np.testing.assert_allclose(output.probabilities[name].numpy(), probabilities, atol=1e-5)
    found = output.logits["audio_visual"].numpy() > 0
    assert (found == targets).mean() > 0.9


def test_centring_has_no_effect_on_distances_and_is_refused():
    message = "centre is True but has no effect with metric euclidean: leave centre out"
    with pytest.raises(InputError, match=message):
        toy_method("ncm", {"metric": "euclidean", "centre": True})
    with pytest.raises(InputError, match="unknown metric 'city': use one of cosine, euclidean"):
        NcmOptions(metric="city")


def test_state_bytes_are_those_of_the_sums():
    loop = run("ncm")
    # Features, squared length and count of six classes and of all clips, in float64.
    assert loop.method.state_bytes == 2 * 8 * (16 + 2) * (6 + 1)


def test_a_removed_class_leaves_no_trace():
    loop, without = run("ncm", centre=True), toy_loop("ncm", options={"centre": True})
    without.train = without.train[labels_of(without, without.train) != 3]
    without.run()
    loop.method.remove_class(3)
    assert loop.method.class_counts == [2, 1, 2]
    ours, theirs = logits(loop, loop.test), logits(without, loop.test)
    for name, values in ours.items():
        np.testing.assert_allclose(values, np.delete(theirs[name], 3, axis=1), atol=1e-5)
