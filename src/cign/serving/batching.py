"""Windows of concurrent requests are encoded and classified together."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from cign.data.media.decode import Decoded
from cign.inference.batch_results import prediction_of, threshold_of
from cign.inference.localization import Maps
from cign.inference.predict import read_batch
from cign.inference.prediction import Prediction
from cign.serving.model_service import ModelService, Snapshot


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request wants to know of each window.

    Attributes:
        snapshot: The version of the model that answers.
        name: Name of the clip, `Prediction.file`.
        top: Number of classes per modality.
        unknown_threshold: See `cign.inference.predict.predict_files`.
        maps: Whether localization maps are wanted.
    """

    snapshot: Snapshot
    name: str
    top: int = 3
    unknown_threshold: float | None = None
    maps: bool = False


@dataclass(frozen=True)
class Result:
    """The prediction for a window, and its maps if they were wanted."""

    prediction: Prediction
    maps: Maps | None


@dataclass
class _Work:
    asked: Asked
    decoded: Decoded
    future: Future[Result] = field(default_factory=Future)


class Batcher:
    """One thread that computes; windows that arrive while it computes form the next batch.

    Args:
        service: Its backbone encodes.
        max_batch: Largest batch.
        max_wait_s: How long a batch that is not full waits while further windows are expected.
        expects: Whether further windows are being decoded: a lone request never waits.
        observe: Called with the size of each batch.
    """

    def __init__(
        self,
        service: ModelService,
        *,
        max_batch: int,
        max_wait_s: float,
        expects: Callable[[], bool],
        observe: Callable[[int], Any] = lambda _: None,
    ) -> None:
        self._service, self._max_batch, self._max_wait_s = service, max_batch, max_wait_s
        self._expects, self._observe = expects, observe
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="cign-batches", daemon=True)
        self._thread.start()

    def submit(self, asked: Asked, decoded: Decoded) -> Future[Result]:
        """Queue a window; its future has the result, or the error of its batch."""
        work = _Work(asked, decoded)
        self._queue.put(work)
        return work.future

    def close(self) -> None:
        """Compute what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, is_last = self._collect(first)
            self._compute([one for one in batch if one.future.set_running_or_notify_cancel()])
            del first, batch  # no window is held while the next one is awaited
            if is_last:
                return

    def _collect(self, first: _Work) -> tuple[list[_Work], bool]:
        """A batch, and whether the queue is closed."""
        batch, until = [first], time.monotonic() + self._max_wait_s
        while len(batch) < self._max_batch:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                left_s = until - time.monotonic()
                if left_s <= 0 or not self._expects():
                    break
                try:
                    work = self._queue.get(timeout=left_s)
                except queue.Empty:
                    break
            if work is None:
                return batch, True
            batch.append(work)
        return batch, False

    def _compute(self, batch: list[_Work]) -> None:
        """Compute the windows of each version of the model together."""
        for _, group in itertools.groupby(
            sorted(batch, key=lambda one: id(one.asked.snapshot)),
            key=lambda one: id(one.asked.snapshot),
        ):
            works = list(group)
            try:
                results = self._results(works)
            except Exception as error:
                for work in works:
                    work.future.set_exception(error)
                continue
            for work, result in zip(works, results, strict=True):
                work.future.set_result(result)

    def _results(self, works: list[_Work]) -> list[Result]:
        model = works[0].asked.snapshot.model
        maps = any(work.asked.maps for work in works)
        windows = [work.decoded for work in works]
        read = read_batch(model, self._service.backbone(model), windows, maps=maps)
        self._observe(len(works))
        results = []
        for row, work in enumerate(works):
            asked = work.asked
            threshold = threshold_of(model, work.decoded, asked.unknown_threshold)
            prediction = prediction_of(
                model, asked.name, work.decoded, read, row, asked.top, threshold
            )
            found = read.maps.of(row) if asked.maps and read.maps is not None else None
            results.append(Result(prediction, found))
        return results
