"""Answers to requests: clips decode in threads, and are computed in batches with others."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from cign.data.media.array_clip import ArrayClip
from cign.data.media.limits import limited
from cign.data.media.side_by_side import num_threads
from cign.errors import Code, InputError
from cign.inference.features import predict_features
from cign.inference.predict import Failed, windows_of
from cign.inference.prediction import Prediction
from cign.serving.batching import Batcher, RequestOptions, Result
from cign.serving.metrics import Metrics
from cign.serving.model_service import ModelService, Snapshot
from cign.serving.settings import MAX_MAPS, MAX_WINDOWS, MEDIA_LIMITS, Settings

_AHEAD = 32  # windows of a request that wait for their results


class Answers:
    """Predicts the clips of concurrent requests.

    Args:
        service: The model.
        settings: Sizes of batches.
        metrics: Receives sizes of batches, decode errors and predictions.
    """

    def __init__(self, service: ModelService, settings: Settings, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics
        self._decoders = ThreadPoolExecutor(num_threads(), thread_name_prefix="cign-decode")
        self._batcher = Batcher(
            service,
            max_batch=settings.max_batch,
            max_wait_s=settings.max_wait_s,
            observe=metrics.batches.observe,
        )

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self._batcher.close()

    async def clip(
        self, options: RequestOptions, clip: Path | ArrayClip, every_s: float | None = None
    ) -> list[dict[str, Any]]:
        """Predict a clip.

        Args:
            options: Options of the request.
            clip: A file or arrays.
            every_s: Seconds between window starts; None takes only the centre window.

        Returns:
            One object per window, see `described`.

        Raises:
            InputError: If it cannot be read.
        """
        cancelled = threading.Event()
        all_submitted = self._batcher.expect()
        try:
            futures = await asyncio.get_running_loop().run_in_executor(
                self._decoders, self._decode, options, clip, every_s, cancelled, all_submitted
            )
            results = [await asyncio.wrap_future(future) for future in futures]
        finally:
            all_submitted()  # also if its turn to be decoded never came
            cancelled.set()  # a request that timed out: no further window is decoded
        self._count(options.snapshot, len(results))
        return [described(one.prediction, options, one) for one in results]

    def _decode(
        self,
        options: RequestOptions,
        clip: Path | ArrayClip,
        every_s: float | None,
        cancelled: threading.Event,
        all_submitted: Callable[[], None],
    ) -> list[Future[Result]]:
        """Decode in a thread; returns the results of all windows, the last ones pending."""
        futures: list[Future[Result]] = []
        waiting: deque[Future[Result]] = deque()
        most = MAX_MAPS if options.maps else MAX_WINDOWS
        try:
            with limited(MEDIA_LIMITS):
                for item in windows_of(clip, options.snapshot.model, every_s):
                    if cancelled.is_set():
                        break
                    if item is None:
                        continue
                    _, decoded = item
                    if isinstance(decoded, Failed):
                        self._metrics.decode_errors.labels(decoded.code).inc()
                        raise _unreadable(options.name, decoded)
                    if len(futures) == most:
                        raise InputError(
                            "bad-value",
                            f"every={every_s} gives more than {most:,} windows: choose a longer "
                            "interval, or send a part of the recording",
                        )
                    futures.append(self._batcher.submit(options, decoded))
                    waiting.append(futures[-1])
                    if len(waiting) > _AHEAD:
                        waiting.popleft().result()
        finally:
            all_submitted()
        return futures

    async def features(
        self, options: RequestOptions, audio: NDArray[Any], visual: NDArray[Any]
    ) -> list[dict[str, Any]]:
        """Predict precomputed features, see `cign.inference.features.predict_features`.

        Raises:
            InputError: If they do not suit the model.
        """

        def work() -> list[Prediction]:
            how: dict[str, Any] = {
                "top": options.top,
                "unknown_threshold": options.unknown_threshold,
            }
            return list(predict_features(options.snapshot.model, audio, visual, **how))

        found = await asyncio.get_running_loop().run_in_executor(self._decoders, work)
        self._count(options.snapshot, len(found))
        return [described(one, options) for one in found]

    def _count(self, snapshot: Snapshot, number: int) -> None:
        self._metrics.predictions.labels(str(snapshot.version)).inc(number)


def described(
    prediction: Prediction, options: RequestOptions, result: Result | None = None
) -> dict[str, Any]:
    """A prediction as ``cign predict --json`` prints it, with the version that made it.

    With maps, ``maps`` has for each of the most probable classes ``visual``, values by frame, row
    and column, and ``audio``, values by time step; null where the method has none.
    """
    found = prediction.to_dict()
    found["model_version"] = options.snapshot.version
    found["model_checksum"] = options.snapshot.checksum
    if not options.maps:
        return found
    maps = None if result is None else result.maps
    order = {name: number for number, name in enumerate(options.snapshot.model.classes)}
    found["maps"] = {
        name: {
            kind: None if values is None else values[..., order[name]].round(6).tolist()
            for kind, values in (
                ("visual", None if maps is None else maps.visual),
                ("audio", None if maps is None else maps.audio),
            )
        }
        for name in (one["label"] for one in prediction.modalities["audio_visual"])
    }
    return found


def _unreadable(name: str, failed: Failed) -> InputError:
    # The code of `cign predict --json`.
    return InputError(
        cast(Code, failed.code),
        f"{name} cannot be read ({failed.reason}): send another video or audio file",
    )
