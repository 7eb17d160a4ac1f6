"""A closed-form class-incremental classifier of features, as a scikit-learn estimator.

It is the method `analytic` (`cign.methods.analytic`) on precomputed features:
ridge regression on random ReLU features, from sums over clips.

Legend: N clips, D features, W random features of a modality, C classes.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from cign.networks.ridge import RandomFeatures, RidgeStatistics, solve_ridge

_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_SCALINGS = ("layer_norm", "standard")
_BATCH = 4096  # rows whose random features are in memory at a time


class AnalyticClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression on random features of one or two modalities, without stored clips.

    `partial_fit` adds clips to sums. Fitting in parts, in any order and with new classes in any
    part, therefore equals fitting all clips at once, up to rounding (ACIL, Zhuang et al. 2022;
    RanPAC, McDonnell et al. 2023). With ``scaling="layer_norm"`` and the pooled tokens of a store
    as features it equals the method ``analytic``, up to rounding.

    Args:
        num_audio_features: How many leading columns of X are audio features; the others are
            visual features. None: X holds one modality.
        width: W, random features of each modality.
        ridge: Added to the diagonal of each Gram matrix.
        temperature: Ridge scores, about 0..1, are divided by it before the soft-max.
        scaling: How the features are scaled before the random projection. ``layer_norm``: each
            row separately, as for features of neural networks; it needs tens of features.
            ``standard``: each column by mean and standard deviation in the first call of
            `partial_fit` (of X in `fit`), with a constant column added.
        precision: Precision of sums and products: ``float64`` or ``float32``.
        projection_seed: Seed of the random projections.

    Attributes:
        classes_: Sorted class labels, shape [C].
        n_features_in_: D.
    """

    def __init__(
        self,
        *,
        num_audio_features: int | None = None,
        width: int = 2000,
        ridge: float = 100.0,
        temperature: float = 0.1,
        scaling: str = "layer_norm",
        precision: str = "float64",
        projection_seed: int = 0,
    ) -> None:
        self.num_audio_features = num_audio_features
        self.width = width
        self.ridge = ridge
        self.temperature = temperature
        self.scaling = scaling
        self.precision = precision
        self.projection_seed = projection_seed

    # -------------------------------------------------------------------- fit

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from clips, discarding what was learned before.

        Args:
            X: Features, shape [N, D]; ``[audio | visual]`` with ``num_audio_features``.
            y: One label for each row.

        Raises:
            ValueError: If a parameter, X or y is not as described.
            RunError: If a ridge solution is singular.
        """
        return self._learn(X, y, None, is_first=True)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:
        """Learn from more clips, of known or new classes.

        Args:
            X: As in `fit`.
            y: As in `fit`.
            classes: Expected labels, for compatibility with other estimators. Optional: labels
                that are not among them may still occur in later calls.

        Raises:
            ValueError: As `fit`.
            RunError: As `fit`.
        """
        return self._learn(X, y, classes, is_first=not hasattr(self, "classes_"))

    def _learn(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None, *, is_first: bool
    ) -> Self:
        """Learn in a copy: after an error the estimator is as it was before."""
        self._check_parameters()
        learned = copy.copy(self)
        if not is_first:
            learned.statistics_ = copy.deepcopy(self.statistics_)
        learned._absorb(X, y, classes, is_first=is_first)
        self.__dict__ = learned.__dict__
        return self

    def _absorb(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None, *, is_first: bool
    ) -> None:
        """Add clips to the sums and solve."""
        rows_ND, labels_N = validate_data(self, X, y, reset=is_first, dtype=np.float64)
        check_classification_targets(labels_N)
        parts = self._split(rows_ND)
        if is_first:
            self._begin(parts)
        given = [labels_N] if classes is None else [labels_N, np.asarray(classes)]
        self._grow(np.unique(np.concatenate(given)), is_first)
        targets = torch.from_numpy(labels_N[:, None] == self.classes_)
        for begin in range(0, len(labels_N), _BATCH):
            rows = slice(begin, begin + _BATCH)
            for name, values in parts.items():
                features = self._features(name, values[rows])
                self.statistics_[name].absorb(features, targets[rows])
        self.weights_ = {
            name: solve_ridge(sums.gram, sums.cross, self.ridge, f"modality {name}").to(sums.gram)
            for name, sums in self.statistics_.items()
        }

    def _check_parameters(self) -> None:
        if self.scaling not in _SCALINGS:
            raise ValueError(f"scaling is {self.scaling!r}: use one of {', '.join(_SCALINGS)}")
        if self.precision not in _DTYPES:
            raise ValueError(f"precision is {self.precision!r}: use one of {', '.join(_DTYPES)}")
        if not self.width >= 1 or not self.ridge >= 0 or not self.temperature > 0:
            raise ValueError(
                f"width {self.width}, ridge {self.ridge} and temperature {self.temperature} must "
                "be at least 1, at least 0 and positive"
            )

    def _begin(self, parts: dict[str, NDArray[np.float64]]) -> None:
        """Draw the projections and set the sums to zero."""
        dtype = _DTYPES[self.precision]
        self.scales_: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self.projections_: dict[str, RandomFeatures] = {}
        self.statistics_: dict[str, RidgeStatistics] = {}
        for number, (name, values) in enumerate(parts.items()):
            width = values.shape[1]
            if self.scaling == "standard":
                spread = values.std(axis=0)
                self.scales_[name] = values.mean(axis=0), np.where(spread > 0, spread, 1.0)
                width += 1  # the constant
            self.projections_[name] = RandomFeatures(
                width, self.width, seed=self.projection_seed, number=number
            )
            self.statistics_[name] = RidgeStatistics(self.width, dtype)

    def _grow(self, labels: NDArray[Any], is_first: bool) -> None:
        """Give each new label a column; `classes_` stays sorted, and the columns with it."""
        old: NDArray[Any] = labels[:0] if is_first else self.classes_
        classes = np.union1d(old, labels)
        places = torch.from_numpy(np.searchsorted(classes, old))
        for sums in self.statistics_.values():
            cross = sums.cross.new_zeros(len(sums.cross), len(classes))
            cross[:, places] = sums.cross
            sums.cross = cross
        self.classes_: NDArray[Any] = classes

    # ---------------------------------------------------------------- predict

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probability of each class; audio-visual if there are two modalities.

        Args:
            X: As in `fit`.

        Returns:
            Shape [N, C], in the order of `classes_`.
        """
        logits = self._logits(X)
        return _softmax(torch.stack(list(logits.values())).sum(dim=0))

    def predict_modalities(self, X: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Probability of each class by each modality alone and by both together.

        Args:
            X: As in `fit`, with two modalities.

        Returns:
            ``audio``, ``visual`` and ``audio_visual``, shape [N, C] each; only ``features`` if
            there is a single modality.
        """
        logits = self._logits(X)
        if len(logits) == 2:
            logits["audio_visual"] = logits["audio"] + logits["visual"]
        return {name: _softmax(values) for name, values in logits.items()}

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each clip, shape [N]."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def _logits(self, X: ArrayLike) -> dict[str, Tensor]:
        check_is_fitted(self)
        rows_ND = validate_data(self, X, reset=False, dtype=np.float64)
        return {
            name: torch.cat(
                [
                    self._features(name, values[begin : begin + _BATCH]) @ self.weights_[name]
                    for begin in range(0, len(values), _BATCH)
                ]
            ).double()
            / self.temperature
            for name, values in self._split(rows_ND).items()
        }

    def _split(self, X: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The columns of each modality."""
        if self.num_audio_features is None:
            return {"features": X}
        if not 0 < self.num_audio_features < X.shape[1]:
            raise ValueError(
                f"num_audio_features is {self.num_audio_features}, X has {X.shape[1]} features: "
                "each modality needs at least one; use None for a single modality"
            )
        return {
            "audio": X[:, : self.num_audio_features],
            "visual": X[:, self.num_audio_features :],
        }

    def _features(self, name: str, values: NDArray[np.float64]) -> Tensor:
        """Random features of rows, shape [N, W]."""
        projection = self.projections_[name]
        if self.scaling == "layer_norm":
            return projection(torch.tensor(values, dtype=_DTYPES[self.precision]))
        mean, spread = self.scales_[name]
        scaled = np.concatenate([(values - mean) / spread, np.ones((len(values), 1))], axis=1)
        rows = torch.from_numpy(scaled).to(_DTYPES[self.precision])
        return (rows @ projection.projection.to(rows.dtype).T).relu()


def _softmax(logits: Tensor) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = logits.softmax(dim=1).numpy()
    return probabilities
