"""Predictions as they are made, and what a list of them converts to. No torch, no pandas here."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cign.errors import InputError, RunError
from cign.inference.prediction import COLUMNS, Prediction

if TYPE_CHECKING:
    from typing import Self


class PredictionStream(Iterator[Prediction]):
    """Predictions in the order of what was given, each made when it is asked for.

    Iterate over it once, in memory that does not grow with the number of files, or collect it:

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
        """End the decoding of what has not been asked for."""
        self._predictions.close()

    def all(self) -> list[Prediction]:
        """All predictions that are left."""
        return list(self._predictions)

    def one(self) -> Prediction:
        """The prediction of a single file or clip.

        Raises:
            InputError: If there are none or several.
        """
        found = list(self._predictions)
        if len(found) != 1:
            raise InputError(f"one() is for a single prediction, here are {len(found)}: use all()")
        return found[0]

    def to_columns(self) -> dict[str, list[Any]]:
        """All predictions that are left as columns, see `to_columns`."""
        return to_columns(self._predictions)

    def to_dataframe(self) -> Any:
        """All predictions that are left as a DataFrame of pandas, see `to_dataframe`."""
        return to_dataframe(self._predictions)


def to_columns(predictions: Iterable[Prediction]) -> dict[str, list[Any]]:
    """Predictions as a table without pandas: a list of values for each column.

    ``pyarrow.table(to_columns(...))`` and ``pandas.DataFrame(to_columns(...))`` take it.

    Args:
        predictions: Any number of them.

    Returns:
        For each of ``file, start_s, end_s, label, probability, unknown, is_unknown, audio_label,
        audio_probability, visual_label, visual_probability, missing, error`` one value for each
        prediction.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for one in predictions:
        for name, value in one.to_row().items():
            columns[name].append(value)
    return columns


def to_dataframe(predictions: Iterable[Prediction]) -> Any:
    """Predictions as a ``pandas.DataFrame`` with the columns of `to_columns`.

    Args:
        predictions: Any number of them.

    Raises:
        RunError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise RunError(
            "a DataFrame needs pandas, which is not installed: run `pip install pandas`, or use "
            "to_columns(), which needs nothing"
        ) from None
    return pd.DataFrame(to_columns(predictions))
