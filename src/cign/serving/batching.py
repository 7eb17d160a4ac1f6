"""Windows of concurrent requests are encoded and classified together."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from cign.data.media.decode import Decoded
from cign.inference.batch_results import prediction_of, threshold_of
from cign.inference.localization import Maps
from cign.inference.predict import predict_batch
from cign.inference.prediction import Prediction
from cign.serving.model_service import ModelService, Snapshot


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """Options of a request.

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
    options: RequestOptions
    decoded: Decoded
    future: Future[Result] = field(default_factory=Future)


class Batcher:
    """One thread that computes; windows that arrive while it computes form the next batch.

    Args:
        service: Its backbone encodes.
        max_batch: Largest batch.
        max_wait_s: How long a batch that is not full waits while further windows are expected; a
            lone window is computed at once.
        observe: Called with the size of each batch.
    """

    def __init__(
        self,
        service: ModelService,
        *,
        max_batch: int,
        max_wait_s: float,
        observe: Callable[[int], Any] = lambda _: None,
    ) -> None:
        self._service, self._max_batch, self._max_wait_s = service, max_batch, max_wait_s
        self._observe = observe
        self._changed = threading.Condition()
        self._queue: deque[_Work] = deque()
        self._num_expected = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="cign-batches", daemon=True)
        self._thread.start()

    def expect(self) -> Callable[[], None]:
        """Say that windows will follow.

        Returns:
            To be called when all of them are submitted, or none will be; further calls have no
            effect.
        """
        is_over = threading.Lock()

        def over() -> None:
            if is_over.acquire(blocking=False):
                with self._changed:
                    self._num_expected -= 1
                    self._wake_if_ready()

        with self._changed:
            self._num_expected += 1
        return over

    def submit(self, options: RequestOptions, decoded: Decoded) -> Future[Result]:
        """Queue a window; its future has the result, or the error of its batch."""
        work = _Work(options, decoded)
        with self._changed:
            self._queue.append(work)
            self._wake_if_ready()
        return work.future

    def close(self) -> None:
        """Compute what is queued, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._compute([one for one in batch if one.future.set_running_or_notify_cancel()])
            del batch  # no window is held while the next one is awaited

    def _next(self) -> list[_Work]:
        """The next batch; empty when the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            self._changed.wait_for(self._is_ready, timeout=self._max_wait_s)
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]

    def _wake_if_ready(self) -> None:
        """Wake the thread if it starts to wait for further windows, or has waited for enough."""
        if len(self._queue) == 1 or self._is_ready():
            self._changed.notify()

    def _is_ready(self) -> bool:
        is_full = len(self._queue) >= self._max_batch
        return is_full or not self._num_expected or self._is_closed

    def _compute(self, batch: list[_Work]) -> None:
        """Compute the windows of each version of the model together."""
        for _, group in itertools.groupby(
            sorted(batch, key=lambda one: id(one.options.snapshot)),
            key=lambda one: id(one.options.snapshot),
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
        model = works[0].options.snapshot.model
        maps = any(work.options.maps for work in works)
        windows = [work.decoded for work in works]
        read = predict_batch(model, self._service.backbone(model), windows, maps=maps)
        self._observe(len(works))
        results = []
        for row, work in enumerate(works):
            options = work.options
            threshold = threshold_of(model, work.decoded, options.unknown_threshold)
            prediction = prediction_of(
                model, options.name, work.decoded, read, row, options.top, threshold
            )
            found = read.maps.of(row) if options.maps and read.maps is not None else None
            results.append(Result(prediction, found))
        return results
