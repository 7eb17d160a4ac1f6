"""Classifiers that are trained on all clips at once.

They are nearest class mean, shrunk LDA, logistic regression and ridge regression with a Gaussian
kernel, references for methods that learn class by class. Tokens are pooled (mean; mean and maximum;
mean, maximum and standard deviation), each dimension is standardised with the training clips, and
the coordinates are those in the span of the training clips: no choice of a class depends on other
directions. The strength of the regularisation is chosen for each modality by cross-validation over
sources, and so is the fusion of both modalities.

Legend: N clips, T tokens, D dimensions of the pooled tokens, R of their span, C classes.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from folds import Fold
from scipy.special import expit, softmax

from cign.metrics.incremental import average_precisions
from cign.vocabulary import MODALITIES

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Score = Callable[[Floats], Floats]  # [N, R] -> [N, C]

# Candidates, the strongest regularisation first: of equally good ones it is taken.
SHRINKAGES = (0.99, 0.97, 0.9, 0.6, 0.3, 0.1, 0.03, 0.01)
COSTS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of logistic regression, for standardised dimensions
WIDTHS = (4.0, 2.0, 1.0, 0.5)  # of the kernel, as factors of the median squared distance
RIDGES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001)  # of the kernel matrix, whose diagonal is 1
TOLERANCE = 1e-4  # of the largest gradient, at which logistic regression ends
NUM_INNER_FOLDS = 3
# Fusions of both modalities: a classifier on the features of both; the sum of scores, audio with
# a weight, which is a product of probabilities; the mean of probabilities at a temperature. Scores
# are in standard deviations.
FUSIONS = (
    ("own", 0.0),
    *(("sum", weight) for weight in (1.0, 0.5, 2.0)),
    *(("mean", temperature) for temperature in (1.0, 0.5, 0.25)),
)


def pool(tokens_NTD: Floats, pooling: str) -> Floats:
    """Pool tokens: [N, D] for ``mean``, [N, 2 D] for ``mean_max``, [N, 3 D] for ``statistics``."""
    tokens_NTD = tokens_NTD.astype(np.float32)
    parts = [tokens_NTD.mean(axis=1, dtype=np.float64)]
    if pooling != "mean":
        parts.append(tokens_NTD.max(axis=1))
    if pooling == "statistics":
        parts.append(tokens_NTD.std(axis=1, dtype=np.float64))
    return np.hstack(parts)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Coordinates of standardised features in the span of the training clips.

    Attributes:
        mean: Mean of the training clips, shape [D].
        scale: Their standard deviation, or 1 for a constant dimension.
        axes: Orthonormal columns, shape [D, R].
    """

    mean: Floats
    scale: Floats
    axes: Floats

    @classmethod
    def of(cls, train_ND: Floats) -> Span:
        """The span of training clips."""
        mean, deviation = train_ND.mean(axis=0), train_ND.std(axis=0)
        scale = np.where(deviation > 1e-9, deviation, 1.0)
        centred_ND = (train_ND - mean) / scale
        # By way of the products of clips: there are fewer clips than dimensions.
        squares, sides_NR = np.linalg.eigh(centred_ND @ centred_ND.T)
        kept = squares > 1e-10 * squares[-1]
        axes = centred_ND.T @ (sides_NR[:, kept] / np.sqrt(squares[kept]))
        return cls(mean=mean, scale=scale, axes=axes)

    def __call__(self, features_ND: Floats) -> Floats:
        """Coordinates, shape [N, R]."""
        return (features_ND - self.mean) / self.scale @ self.axes


def nearest_mean(x_NR: Floats, targets_NC: Bools, num_dims: int) -> list[Score]:
    """Nearest class mean; with several labels, nearer to the class's mean than to the others'.

    Args:
        x_NR: Training clips.
        targets_NC: Their labels.
        num_dims: D; not used.

    Returns:
        One score, since there is nothing to choose.
    """
    with np.errstate(invalid="ignore"):
        own_CR = _means(x_NR, targets_NC)
        rest_CR = _means(x_NR, ~targets_NC)
    several = _has_several(targets_NC)

    def score(x: Floats) -> Floats:
        distance = _squared_distances(x, own_CR)
        return _defined(_squared_distances(x, rest_CR) - distance if several else -distance)

    return [score]


def shrunk_lda(x_NR: Floats, targets_NC: Bools, num_dims: int) -> list[Score]:
    """Linear discriminant analysis with covariance (1 - s) S + s tr(S) / D I, for each shrinkage s.

    S is the covariance within classes, as in scikit-learn; I where it is 0. With several labels
    each class is set against all others; S is then the total covariance, which gives the same
    direction up to the factor of the trace (Sherman-Morrison), and only the order of a class's
    scores is used.

    Args:
        x_NR: Training clips.
        targets_NC: Their labels.
        num_dims: D, for the mean eigenvalue.
    """
    counts_C = targets_NC.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means_CR = _means(x_NR, targets_NC)
        several = _has_several(targets_NC)
        directions_CR = means_CR - _means(x_NR, ~targets_NC) if several else means_CR
        priors_C = np.log(counts_C / len(x_NR))
    centres = x_NR.mean(axis=0) if several else np.nan_to_num(means_CR)[targets_NC.argmax(axis=1)]
    centred = x_NR - centres
    values_R, vectors_RR = np.linalg.eigh(centred.T @ centred / len(x_NR))
    level = values_R.sum() / num_dims
    if values_R.sum() <= 1e-12 * (x_NR**2).sum() / len(x_NR):  # one clip per class: nearest mean
        values_R, level = np.zeros_like(values_R), 1.0
    turned_CR = directions_CR @ vectors_RR

    def scorer(shrinkage: float) -> Score:
        weights_CR = turned_CR / ((1 - shrinkage) * values_R + shrinkage * level)
        bias_C = priors_C - 0.5 * (weights_CR * turned_CR).sum(axis=1)

        def score(x: Floats) -> Floats:
            return _defined(x @ vectors_RR @ weights_CR.T + (0.0 if several else bias_C))

        return score

    return [scorer(shrinkage) for shrinkage in SHRINKAGES]


def logistic(x_NR: Floats, targets_NC: Bools, num_dims: int) -> list[Score]:
    """Logistic regression, multinomial or one per class if clips have several labels.

    Args:
        x_NR: Training clips.
        targets_NC: Their labels.
        num_dims: D; not used.
    """
    return [_logistic(x_NR, targets_NC, cost) for cost in COSTS]


def _logistic(x_NR: Floats, targets_NC: Bools, cost: float) -> Score:
    from sklearn.linear_model import LogisticRegression

    present = np.flatnonzero(targets_NC.any(axis=0) & ~targets_NC.all(axis=0))
    fits: list[tuple[Any, Any]] = []  # rows of the scores, and what gives them
    if _has_several(targets_NC):
        labels = [([c], targets_NC[:, c]) for c in present]
    else:
        labels = [(present, targets_NC.argmax(axis=1))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lbfgs failed to converge")
        for columns, label in labels:
            fit = LogisticRegression(C=cost, max_iter=500, tol=TOLERANCE).fit(x_NR, label)
            fits.append((columns, fit))

    def score(x: Floats) -> Floats:
        result = np.full((len(x), targets_NC.shape[1]), -np.inf)
        for columns, fit in fits:
            values = fit.decision_function(x)
            if values.ndim == 1 and len(columns) == 2:  # two classes have one difference
                values = np.stack([-values, values], axis=1)
            result[:, columns] = values.reshape(len(x), len(columns))
        return result

    return score


def kernel_ridge(x_NR: Floats, targets_NC: Bools, num_dims: int) -> list[Score]:
    """Ridge regression of 0/1 labels with the kernel exp(-|x - x'|^2 / (width * median)).

    Saunders, Gammerman, Vovk, ICML 1998. Distances are those within the span of the training clips;
    the rest would only scale all scores of a clip.

    Args:
        x_NR: Training clips.
        targets_NC: Their labels.
        num_dims: D; not used.
    """
    distances_NN = _squared_distances(x_NR, x_NR)
    apart = distances_NN[~np.eye(len(x_NR), dtype=bool)]
    median = float(np.median(apart)) if apart.size and np.median(apart) > 0 else 1.0
    missing = ~targets_NC.any(axis=0)

    def scorer(scale: float, weights_NC: Floats) -> Score:
        def score(x: Floats) -> Floats:
            scores = np.exp(-_squared_distances(x, x_NR) / scale) @ weights_NC
            return np.where(missing, -np.inf, scores)

        return score

    scores = []
    for width in WIDTHS:
        scale = width * median
        values_N, vectors_NN = np.linalg.eigh(np.exp(-distances_NN / scale))
        turned_NC = vectors_NN.T @ targets_NC.astype(np.float64)
        for ridge in RIDGES:
            weights = vectors_NN @ (turned_NC / (values_N.clip(0.0) + ridge)[:, None])
            scores.append(scorer(scale, weights))
    return scores


CLASSIFIERS = {
    "ncm": nearest_mean,
    "lda": shrunk_lda,
    "logistic": logistic,
    "kernel": kernel_ridge,
}
METHODS = (
    *("ncm_mean", "ncm_mean_max", "lda_mean", "lda_mean_max"),
    *("logistic_mean", "logistic_mean_max", "kernel_statistics"),
)


def all_clips_scores(
    method: str,
    train: Mapping[str, Floats],
    test: Mapping[str, Floats],
    targets_NC: Bools,
    inner: Sequence[Fold],
) -> tuple[dict[str, Floats], dict[str, int]]:
    """Scores of test clips by a classifier that is trained on all training clips at once.

    Args:
        method: One of `METHODS`.
        train: ``audio`` and ``visual`` tokens of the training clips, [N, T, D].
        test: The same of the test clips.
        targets_NC: Labels of the training clips.
        inner: Folds of the training clips by source, for choosing regularisation and fusion.

    Returns:
        Scores by modality, [N, C], and the index of the chosen candidate by modality, and as
        ``fusion`` of the one of `FUSIONS`.
    """
    name, _, pooling = method.partition("_")
    known, asked = (
        {modality: pool(tokens[modality], pooling) for modality in ("audio", "visual")}
        for tokens in (train, test)
    )
    for features in (known, asked):
        features["audio_visual"] = np.hstack([features["audio"], features["visual"]])
    scores, chosen, inner_scores = {}, {}, {}
    for modality in MODALITIES:
        span = Span.of(known[modality])
        chosen[modality], inner_scores[modality] = _choose(name, known[modality], targets_NC, inner)
        fitted = CLASSIFIERS[name](span(known[modality]), targets_NC, len(span.mean))
        scores[modality] = fitted[chosen[modality]](span(asked[modality]))
    several = _has_several(targets_NC)
    found = [
        quality(fused[rows], targets_NC[rows])
        for fused in fusions(inner_scores, inner_scores, multi_label=several)
        if (rows := ~np.isnan(fused).any(axis=1)).any()
    ]
    chosen["fusion"] = int(np.argmax(found)) if found else 0
    every = fusions(scores, inner_scores, multi_label=several)
    scores["audio_visual"] = every[chosen["fusion"]]
    return scores, chosen


def fusions(
    scores: Mapping[str, Floats], inner: Mapping[str, Floats], *, multi_label: bool
) -> list[Floats]:
    """Audio-visual scores by every fusion of `FUSIONS`, [N, C] each.

    Args:
        scores: Scores by modality; those of ``audio_visual`` are of the features of both.
        inner: Scores of training clips by classifiers of the other inner folds, which give the
            scale of a modality's scores.
        multi_label: Whether clips may have several labels.
    """
    scaled = {}
    for modality in ("audio", "visual"):
        known = inner[modality][np.isfinite(inner[modality])]
        spread = float(known.std()) if known.size else 0.0
        scaled[modality] = (scores[modality] - (known.mean() if known.size else 0.0)) / (
            spread or 1.0
        )
    squash = expit if multi_label else functools.partial(softmax, axis=1)
    found = []
    for kind, value in FUSIONS:
        if kind == "own":
            found.append(scores["audio_visual"])
        elif kind == "sum":
            found.append(value * scaled["audio"] + scaled["visual"])
        else:
            found.append(squash(scaled["audio"] / value) + squash(scaled["visual"] / value))
    return found


def _choose(
    name: str, features_ND: Floats, targets_NC: Bools, inner: Sequence[Fold]
) -> tuple[int, Floats]:
    """The candidate with the best accuracy, or mean average precision, on inner folds.

    Returns:
        Its index, and its scores of the clips by the classifiers of the other folds, [N, C]; NaN
        for clips in no fold.
    """
    found: list[list[float]] = []
    scores: list[Floats] = []
    for fold in inner:
        train, test = list(fold.train), list(fold.test)
        if not test:
            continue
        span = Span.of(features_ND[train])
        fitted = CLASSIFIERS[name](span(features_ND[train]), targets_NC[train], len(span.mean))
        asked = span(features_ND[test])
        scores = scores or [np.full(targets_NC.shape, np.nan) for _ in fitted]
        for own, score in zip(scores, fitted, strict=True):
            own[test] = score(asked)
        found.append([len(test) * quality(own[test], targets_NC[test]) for own in scores])
    if not found:
        return 0, np.full(targets_NC.shape, np.nan)
    best = int(np.sum(found, axis=0).argmax())
    return best, scores[best]


def quality(scores_NC: Floats, targets_NC: Bools) -> float:
    """Accuracy, or mean average precision if clips have several labels, in [0, 1]."""
    if _has_several(targets_NC):
        return float(np.nanmean(average_precisions(scores_NC, targets_NC)))
    return float(targets_NC[np.arange(len(scores_NC)), scores_NC.argmax(axis=1)].mean())


def _has_several(targets_NC: Bools) -> bool:
    return bool((targets_NC.sum(axis=1) > 1).any())


def _means(x_NR: Floats, chosen_NC: Bools) -> Floats:
    """Mean of the chosen clips of each class, [C, R]; NaN without any."""
    return (chosen_NC.T.astype(np.float64) @ x_NR) / chosen_NC.sum(axis=0)[:, None]


def _squared_distances(x_NR: Floats, means_CR: Floats) -> Floats:
    squares = (x_NR**2).sum(axis=1)[:, None] + (means_CR**2).sum(axis=1)
    return (squares - 2 * x_NR @ means_CR.T).clip(0.0)  # NaN stays NaN


def _defined(scores_NC: Floats) -> Floats:
    """Scores in which a class without training clips is the last."""
    return np.where(np.isnan(scores_NC), -np.inf, scores_NC)
