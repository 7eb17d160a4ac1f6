"""One trial: a run on the training clips of a store, scored on its validation clips."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.store import Store
from cign.data.tasks import IntArray
from cign.errors import InputError, RunError
from cign.metrics.incremental import is_multi_label, summarise
from cign.metrics.predictions import Predictions
from cign.runs.build import build_loop
from cign.runs.configuration import RunConfig
from cign.runs.training_data import TrainingData
from cign.training.callbacks import Callback, Callbacks
from cign.utils.progress import Progress

Reader = Callable[[IntArray], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Score:
    """The result of a trial.

    Attributes:
        percent: Last accuracy by modality, or mean average precision; None if a loss diverged.
        seconds: Time that the run took.
    """

    percent: dict[str, float] | None
    seconds: float

    @property
    def value(self) -> float | None:
        """The objective of the search: last audio-visual accuracy in percent."""
        return None if self.percent is None else self.percent["audio_visual"]


def validation_data(config: RunConfig, store: Store) -> TrainingData:
    """The data of a run that scores validation clips in place of the test clips.

    Reading a test clip raises an error, so that no trial can depend on one.

    Args:
        config: Configuration of the run.
        store: The store.

    Raises:
        InputError: If the store lacks validation clips of a class.
    """
    data = TrainingData.open(config, store)
    clips = [store.table.clips[i] for i in data.validation]
    found = {name for clip in clips for name in clip.likely_labels}
    missing = [name for name in store.class_names if name not in found]
    if missing:
        raise InputError(
            "no-clips",
            f"store {store.folder} has no validation clip of {len(missing)} of "
            f"{len(store.class_names)} classes, for example {missing[0]!r}: prepare clips of split "
            "val, on which the search scores its trials",
        )
    forbidden = np.ones(len(store.table.clips), dtype=np.bool_)
    forbidden[store.indices("train")] = forbidden[store.indices("val")] = False
    source = dataclasses.replace(
        data.source,
        audio=_guarded(data.source.audio, forbidden),
        visual=_guarded(data.source.visual, forbidden),
    )
    predictions = Predictions(
        clip_ids=[clip.id for clip in clips],
        labels=[clip.likely_labels for clip in clips],
        class_names=data.clips.tasks.class_order,
        task_sizes=data.clips.tasks.sizes,
    )
    return dataclasses.replace(
        data, source=source, test=data.validation, test_source=None, predictions=predictions
    )


def _guarded(read: Reader, forbidden: NDArray[np.bool_]) -> Reader:
    def checked(indices: IntArray) -> NDArray[Any]:
        assert not forbidden[indices].any(), "a search must not read test clips"
        return read(indices)

    return checked


def score(
    config: RunConfig, data: TrainingData, progress: Progress, callback: Callback | None = None
) -> Score:
    """Run a trial in memory.

    Args:
        config: Configuration of the run.
        data: Its data, from `validation_data`.
        progress: Receives the progress of steps.
        callback: Called after each task; it may end the run.

    Raises:
        RunError: If the run fails otherwise than by a loss that is not finite.
        StopRun: If the callback ends the run.
    """
    begin = time.monotonic()
    loop = build_loop(config, data, progress)
    if callback is not None:
        loop.callbacks = Callbacks([callback], progress)
    try:
        loop.run()
    except RunError as error:
        if error.code != "diverged":
            raise
        return Score(percent=None, seconds=time.monotonic() - begin)
    percent = {name: one["last"] for name, one in summarise(loop.predictions).items()}
    return Score(percent=percent, seconds=time.monotonic() - begin)


def measure_of(data: TrainingData) -> str:
    """Name of the objective: accuracy, or mean average precision for several labels."""
    return "mean average precision" if is_multi_label(data.predictions) else "accuracy"
