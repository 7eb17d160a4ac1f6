"""Streams of predictions, and conversion to tables. This module does not import torch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cign.errors import InputError, RunError
from cign.inference.prediction import COLUMNS, Prediction

if TYPE_CHECKING:
    from typing import Self


class PredictionStream(Iterator[Prediction]):
    """Predictions in input order, each computed when it is requested.

    Iterate over it once, with memory independent of the number of files, or collect it:

    ``learner.predict("a.mp4").one()``, ``learner.predict("clips").all()``,
    ``learner.predict("clips").to_dataframe()``.

    Args:
        predictions: A generator of predictions.
    """

    def __init__(self, predictions: Generator[Prediction, None, None]) -> None:
        self._predictions = predictions

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Prediction:
        return next(self._predictions)

    def close(self) -> None:
        """Stop decoding the remaining inputs."""
        self._predictions.close()

    def all(self) -> list[Prediction]:
        """All remaining predictions."""
        return list(self._predictions)

    def one(self) -> Prediction:
        """The prediction of a single file or clip.

        Raises:
            InputError: If there are none or several.
        """
        found = list(self._predictions)
        if len(found) != 1:
            raise InputError(
                "bad-value",
                f"one() needs a single prediction, but there are {len(found)}: use all()",
            )
        return found[0]

    def to_columns(self) -> dict[str, list[Any]]:
        """All remaining predictions as columns, see `to_columns`."""
        return to_columns(self._predictions)

    def to_dataframe(self) -> Any:
        """All remaining predictions as a pandas DataFrame, see `to_dataframe`."""
        return to_dataframe(self._predictions)


def to_columns(predictions: Iterable[Prediction]) -> dict[str, list[Any]]:
    """Predictions as a table without pandas: a list of values per column.

    ``pyarrow.table`` and ``pandas.DataFrame`` accept the result.

    Args:
        predictions: Any number of predictions.

    Returns:
        One value per prediction for each of `cign.inference.prediction.COLUMNS`.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for one in predictions:
        for name, value in one.to_row().items():
            columns[name].append(value)
    return columns


def to_dataframe(predictions: Iterable[Prediction]) -> Any:
    """Predictions as a ``pandas.DataFrame`` with the columns of `to_columns`.

    Args:
        predictions: Any number of predictions.

    Raises:
        RunError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise RunError(
            "missing-package",
            "a DataFrame needs pandas, which is not installed: run `pip install pandas`, or use "
            "to_columns(), which does not need it",
        ) from None
    return pd.DataFrame(to_columns(predictions))
