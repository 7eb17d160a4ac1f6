"""The classifiers on all clips of `benchmarks/all_clips.py`, against scikit-learn."""

import importlib

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from benchmark_scripts import BENCHMARKS
from cign.data.clips import Clip


@pytest.fixture(scope="module")
def all_clips():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)  # it imports the folds beside it
        return importlib.import_module("all_clips")


@pytest.fixture(scope="module")
def problem():
    """Four classes of unequal size in 60 dimensions, more than training clips."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), (20, 14, 10, 6))
    centres = rng.normal(size=(4, 60))
    train, test = (centres[labels] + 3 * rng.normal(size=(50, 60)) for _ in range(2))
    scale = rng.uniform(0.1, 10, size=60)
    return train * scale, test * scale, labels


def fitted(all_clips, name, problem, targets=None):
    """Scores of test clips for every candidate, by way of the span of the training clips."""
    train, test, labels = problem
    targets = np.eye(4, dtype=bool)[labels] if targets is None else targets
    span = all_clips.Span.of(train)
    found = all_clips.CLASSIFIERS[name](span(train), targets, train.shape[1])
    return [score(span(test)) for score in found]


def test_shrunk_lda_is_that_of_scikit_learn(all_clips, problem):
    train, test, labels = problem
    scaler = StandardScaler().fit(train)
    found = fitted(all_clips, "lda", problem)
    for shrinkage, scores in zip(all_clips.SHRINKAGES, found, strict=True):
        other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        other.fit(scaler.transform(train), labels)
        wanted = other.decision_function(scaler.transform(test))
        np.testing.assert_allclose(scores, wanted, rtol=1e-6, atol=1e-6)


def test_nearest_class_mean_is_that_of_scikit_learn(all_clips, problem):
    train, test, labels = problem
    scaler = StandardScaler().fit(train)
    (scores,) = fitted(all_clips, "ncm", problem)
    wanted = NearestCentroid().fit(scaler.transform(train), labels).predict(scaler.transform(test))
    assert np.array_equal(scores.argmax(axis=1), wanted)


def test_logistic_regression_does_not_need_the_other_dimensions(all_clips, problem, monkeypatch):
    monkeypatch.setattr(all_clips, "TOLERANCE", 1e-7)  # its minimum, not where it ends
    train, test, labels = problem
    scaler = StandardScaler().fit(train)
    found = fitted(all_clips, "logistic", problem)
    for cost, scores in zip(all_clips.COSTS, found, strict=True):
        other = LogisticRegression(C=cost, max_iter=2000, tol=1e-7)
        other.fit(scaler.transform(train), labels)
        wanted = other.decision_function(scaler.transform(test))
        np.testing.assert_allclose(scores, wanted, atol=1e-3)


def test_kernel_ridge_regression_is_that_of_scikit_learn(all_clips, problem):
    train, test, labels = problem
    scaler = StandardScaler().fit(train)
    x, y = scaler.transform(train), scaler.transform(test)
    span = all_clips.Span.of(train)
    inside = span(test) @ span.axes.T  # without what is outside of the span of the training clips
    apart = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    median = np.median(apart[~np.eye(len(x), dtype=bool)])
    found = iter(fitted(all_clips, "kernel", problem))
    for width in all_clips.WIDTHS:
        for ridge in all_clips.RIDGES:
            other = KernelRidge(alpha=ridge, kernel="rbf", gamma=1 / (width * median))
            other.fit(x, np.eye(4)[labels])
            scores = next(found)
            np.testing.assert_allclose(scores, other.predict(inside), atol=1e-7)
            assert np.array_equal(scores.argmax(axis=1), other.predict(y).argmax(axis=1))


def test_pooled_statistics_are_mean_maximum_and_deviation(all_clips):
    tokens = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float16)
    wide = tokens.astype(np.float64)
    wanted = np.hstack([wide.mean(axis=1), wide.max(axis=1), wide.std(axis=1)])
    np.testing.assert_allclose(all_clips.pool(tokens, "statistics"), wanted, atol=1e-6)


def test_lda_of_several_labels_sets_each_class_against_the_others(all_clips, problem):
    train, test, labels = problem
    targets = np.eye(4, dtype=bool)[labels]
    targets[::3, 1] = True
    scaler = StandardScaler().fit(train)
    x = scaler.transform(train)
    found = fitted(all_clips, "lda", problem, targets)
    for shrinkage, scores in zip(all_clips.SHRINKAGES, found, strict=True):
        for c in range(4):
            own = targets[:, c]
            centred = x - np.where(own[:, None], x[own].mean(axis=0), x[~own].mean(axis=0))
            # The same ridge, as a share of the mean variance within the two groups.
            ridge = shrinkage / (1 - shrinkage) * x.var(axis=0).mean()
            share = ridge / (ridge + (centred**2).mean())
            other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share).fit(x, own)
            wanted = other.decision_function(scaler.transform(test))
            assert np.corrcoef(scores[:, c], wanted)[0, 1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", ["ncm", "lda", "logistic", "kernel"])
@pytest.mark.parametrize("several", [False, True])
def test_a_class_without_training_clips_is_ranked_last(all_clips, problem, name, several):
    targets = np.eye(5, dtype=bool)[problem[2]][:, [0, 4, 1, 2, 3]]
    if several:
        targets[::3, 0] = True
    for scores in fitted(all_clips, name, problem, targets):
        assert (scores[:, 1] == -np.inf).all()
        assert np.isfinite(np.delete(scores, 1, axis=1)).all()


@pytest.mark.parametrize("method", ["ncm_mean", "lda_mean_max", "kernel_statistics"])
def test_the_strength_is_chosen_without_the_test_clips(all_clips, method, tmp_path):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 16)
    clips = [
        Clip(id=str(i), path=tmp_path, labels=(str(label),), split="train", source=str(i // 2))
        for i, label in enumerate(labels)
    ]
    centres = rng.normal(size=(3, 1, 30))

    def tokens():
        return {
            modality: (centres[labels] + rng.normal(size=(48, 4, 30))).astype(np.float16)
            for modality in ("audio", "visual")
        }

    train, test = tokens(), tokens()
    inner = importlib.import_module("folds").folds(clips, all_clips.NUM_INNER_FOLDS)
    targets = np.eye(3, dtype=bool)[labels]
    scores, chosen = all_clips.all_clips_scores(method, train, test, targets, inner)
    assert all_clips.quality(scores["audio_visual"], targets) > 0.9
    other = {name: values[::-1] for name, values in test.items()}
    again, same = all_clips.all_clips_scores(method, train, other, targets, inner)
    assert same == chosen
    for modality, values in scores.items():
        np.testing.assert_allclose(again[modality][::-1], values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_fusions_are_those_of_the_formulas(all_clips, multi_label):
    rng = np.random.default_rng(1)
    scores = {name: rng.normal(size=(5, 3)) for name in ("audio", "visual", "audio_visual")}
    inner = {name: 4 * rng.normal(size=(9, 3)) + 1 for name in ("audio", "visual")}
    inner["audio"][2, 1] = -np.inf  # a class without clips in a fold
    found = all_clips.fusions(scores, inner, multi_label=multi_label)
    for (kind, value), fused in zip(all_clips.FUSIONS, found, strict=True):
        for row in range(5):
            both = []
            for name in ("audio", "visual"):
                known = [x for x in inner[name].ravel() if np.isfinite(x)]
                both.append((scores[name][row] - np.mean(known)) / np.std(known))
            if kind == "own":
                wanted = scores["audio_visual"][row]
            elif kind == "sum":
                wanted = value * both[0] + both[1]
            else:
                raised = [np.exp(one / value) for one in both]
                wanted = sum(x / (1 + x) if multi_label else x / x.sum() for x in raised)
            np.testing.assert_allclose(fused[row], wanted, rtol=1e-9)


@pytest.mark.parametrize("worse", ["audio", "visual"])
def test_the_fusion_is_the_best_on_inner_folds(all_clips, worse):
    """The fused prediction of a modality with noise is no worse than the other one alone."""
    folds = importlib.import_module("folds")
    rng = np.random.default_rng(2)
    labels = np.tile(np.arange(3), 30)
    targets = np.eye(3, dtype=bool)[labels]

    def tokens(noise):
        return 2 * np.eye(3, 8)[labels][:, None] + noise * rng.normal(size=(90, 2, 8))

    noise = {"audio": 1.5, "visual": 1.5, worse: 40.0}
    train, test = ({name: tokens(noise[name]) for name in noise} for _ in range(2))
    numbers = np.arange(90)
    inner = [
        folds.Fold(
            train=tuple(map(int, numbers[numbers % 3 != k])),
            test=tuple(map(int, numbers[numbers % 3 == k])),
        )
        for k in range(3)
    ]
    scores, chosen = all_clips.all_clips_scores("lda_mean", train, test, targets, inner)
    assert set(chosen) == {"audio", "visual", "audio_visual", "fusion"}
    better = "visual" if worse == "audio" else "audio"
    alone = all_clips.quality(scores[better], targets)
    assert all_clips.quality(scores["audio_visual"], targets) > alone - 0.05
    kind, value = all_clips.FUSIONS[chosen["fusion"]]
    if kind == "sum":
        assert value == (0.5 if worse == "audio" else 2.0)


def test_lda_of_one_clip_per_class_is_the_nearest_mean(all_clips):
    rng = np.random.default_rng(3)
    train, test, targets = rng.normal(size=(4, 9)), rng.normal(size=(30, 9)), np.eye(4, dtype=bool)
    for score in all_clips.shrunk_lda(train, targets, 9):
        nearest = ((test[:, None] - train) ** 2).sum(axis=2).argmin(axis=1)
        assert np.array_equal(score(test).argmax(axis=1), nearest)
