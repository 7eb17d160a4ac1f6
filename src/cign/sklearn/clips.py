"""A scikit-learn classifier of media files: a `Learner` behind `fit`.

Legend: N clips, C classes.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from cign.backbones.registry import load_to_prepare
from cign.data.formats.label_texts import label_text
from cign.data.formats.labels import listed_label, without_decimals
from cign.data.prepare.pipeline import prepare
from cign.errors import InputError
from cign.learner import Learner
from cign.utils.file_text import escape_name

Paths = Sequence[str | os.PathLike[str]] | NDArray[Any]


class ClipClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier of audio and video files.

    ``ClipClassifier().fit(paths, labels).predict(paths)``; it works in cross-validation and
    pipelines of scikit-learn, with a list or array of paths as X.

    Args:
        method: Name of the method. A second `partial_fit` requires a closed-form method.
        backbone: Backbone that computes the features; see ``cign prepare --backbone``.
        options: Options of the method that differ from its recipe.
        seed: Seed of weights, shuffling and noise.
        num_workers: Decoding processes; None: one per core; 0: decode in this process.
        device: Compute device; None takes a GPU if there is one.

    Attributes:
        classes_: Sorted labels, shape [C].
        learner_: The `cign.Learner`.
    """

    def __init__(
        self,
        *,
        method: str = "cign_analytic",
        backbone: str = "small",
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        num_workers: int | None = None,
        device: str | None = None,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.options = options
        self.seed = seed
        self.num_workers = num_workers
        self.device = device

    def fit(self, X: Paths, y: ArrayLike) -> Self:
        """Learn from clips, discarding what was learned before.

        Args:
            X: Paths of N media files.
            y: One label per clip; its text is the class name in the model, without decimals if it
                is a whole number.

        Raises:
            InputError: If labels and paths do not match, labels are not class names or differ only
                in their spelling, or a class has no usable clip.
        """
        classes = np.unique(np.asarray(y))
        _check_names(classes)
        with tempfile.TemporaryDirectory(prefix="cign-fit-") as folder:
            table, media = _table(Path(folder), X, y)
            store = Path(folder) / "store"
            prepare(
                table,
                store,
                media=[media],
                backbone=load_to_prepare(self.backbone),
                num_workers=self.num_workers,
                progress=False,
            )
            learner = Learner(self.method, options=self.options, seed=self.seed, device=self.device)
            self.learner_ = learner.learn(store, progress=False)
        self.classes_ = classes
        return self

    def partial_fit(self, X: Paths, y: ArrayLike, classes: ArrayLike | None = None) -> Self:
        """Learn from more clips, of known or new classes, without the earlier ones.

        Args:
            X: As in `fit`.
            y: As in `fit`.
            classes: Not needed; new classes may come at any time.

        Raises:
            InputError: As `fit`, or if the method is trained by gradient descent.
        """
        if not hasattr(self, "learner_"):
            return self.fit(X, y)
        classes = np.union1d(self.classes_, np.asarray(y))
        _check_names(classes)
        with tempfile.TemporaryDirectory(prefix="cign-fit-") as folder:
            table, media = _table(Path(folder), X, y)
            self.learner_.add(table, media=[media], num_workers=self.num_workers, progress=False)
        self.classes_ = classes
        return self

    def predict_proba(self, X: Paths) -> NDArray[np.float64]:
        """Audio-visual probability of each class.

        Args:
            X: Paths of N media files. For a file without audio or without video, the prediction
                of the other modality is used.

        Returns:
            Shape [N, C], in the order of `classes_`.

        Raises:
            InputError: If a file cannot be read.
        """
        check_is_fitted(self)
        names = [_name(label) for label in self.classes_]
        found = np.zeros((len(X), len(names)))
        clips = [Path(path) for path in X]
        for clip in clips:
            if clip.is_dir():
                raise InputError(
                    "bad-clip", f"{clip} is a folder: name a file, one for each row of X"
                )
        predictions = self.learner_.predict(clips, top=len(names), progress=False)
        for row, one in enumerate(predictions):
            if one.error is not None:
                raise InputError(
                    "bad-clip", f"{one.file} cannot be read ({one.error}): leave it out"
                )
            for entry in one.modalities["audio_visual"]:
                found[row, names.index(entry["label"])] = entry["probability"]
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, X: Paths) -> NDArray[Any]:
        """The most probable class of each clip, shape [N]."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


def _table(folder: Path, paths: Paths, labels: ArrayLike) -> tuple[Path, Path]:
    """Write a table of the clips; returns its path and the common parent folder of the clips."""
    names = [_name(label) for label in np.asarray(labels).ravel()]
    if len(names) != len(paths):
        raise InputError(
            "bad-value", f"X has {len(paths)} paths and y {len(names)} labels: give one for each"
        )
    if not names:
        raise InputError("bad-value", "X is empty: give one path or more")
    files = [Path(path).absolute() for path in paths]
    table = folder / "clips.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "labels", "split"))
        for path, name in zip(files, names, strict=True):
            writer.writerow((escape_name(str(path)), label_text(name), "train"))
    return table, Path(os.path.commonpath([path.parent for path in files]))


def _check_names(labels: NDArray[Any]) -> None:
    """Raise an error if two labels have the same class name."""
    found: dict[str, Any] = {}
    for label in labels:
        other = found.setdefault(name := _name(label), label)
        if other is not label:
            raise InputError(
                "bad-value",
                f"labels {str(other)!r} and {str(label)!r} of y are both class {name!r}: spell "
                "them alike, or rename one",
            )


def _name(label: Any) -> str:
    """The class name of a label, which does not change when a list with it is read."""
    return without_decimals(listed_label(str(label), "y"))
