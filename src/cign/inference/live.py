"""Predictions for live sources: streams, capture devices and files that grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cign.backbones.base import Backbone
from cign.data.media.addresses import Address, is_address, parse_address
from cign.data.media.live.opening import Connection
from cign.data.media.live.source import LiveOptions, LiveSource
from cign.data.media.live.waiting import Item, Waiting
from cign.errors import InputError
from cign.inference.batch_results import prediction_of, threshold_of
from cign.inference.live_statistics import Statistics
from cign.inference.predict import BATCH, predict_batch
from cign.inference.prediction import Prediction
from cign.saved_model.model import Model

_POLL_S = 0.5

Remark = Callable[[str, str], None]


@dataclass(kw_only=True)
class LivePrediction(Prediction):
    """The prediction for a window of a live source.

    ``start_s`` and ``end_s`` count from the first sample of the source, including the time of
    interruptions.

    Attributes:
        received_at: When the window's last sample had arrived: UTC, ISO 8601 with milliseconds.
        latency_s: Seconds from then to this prediction.
        is_paced: Whether the source sends in real time. Windows of faster sources (files, the
            beginning of HLS) wait for each other, which their latency includes.
        num_dropped: Number of windows skipped directly before this one, because classification was
            slower than the source.
    """

    received_at: str | None = None
    latency_s: float | None = None
    is_paced: bool | None = None
    num_dropped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """`Prediction.to_dict`, and the fields above."""
        return super().to_dict() | self._live()

    def to_row(self) -> dict[str, Any]:
        """`Prediction.to_row`, and the fields above."""
        return super().to_row() | self._live()

    def _live(self) -> dict[str, Any]:
        return {
            "received_at": self.received_at,
            "latency_s": self.latency_s,
            "is_paced": self.is_paced,
            "num_dropped": self.num_dropped,
        }


LIVE_COLUMNS = tuple(LivePrediction(file="").to_row())


@dataclass
class Place:
    """A live source to predict.

    Attributes:
        place: A URL or devices, or a file that grows.
        first: Its connection, if it is open already.
        name: Its name in results.
    """

    place: Address | Path
    first: Connection | None = None
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.place.shown if isinstance(self.place, Address) else str(self.place)


def as_place(name: str | Path) -> Place:
    """The live source of a name: a URL, ``device:FORMAT:NAME``, or the path of a file.

    Raises:
        InputError: If it is none of these.
    """
    if is_address(name):
        return Place(parse_address(str(name)))
    if not Path(name).is_file():
        raise InputError("file-missing", f"{name} is not a file, URL or device: check the name")
    return Place(Path(name))


def predict_live(
    model: Model,
    backbone: Backbone | None,
    places: Sequence[Place],
    how: LiveOptions,
    *,
    top: int = 3,
    unknown_threshold: float | None = None,
    remark: Remark | None = None,
    statistics: Statistics | None = None,
) -> Iterator[LivePrediction]:
    """Predict the windows of live sources as they arrive, with constant memory.

    Args:
        model: The model.
        backbone: Its frozen backbone; None if the method contains its encoders.
        places: The sources, read side by side.
        how: How they are read.
        top: Number of classes per modality.
        unknown_threshold: See `cign.inference.predict.predict_files`.
        remark: Called with the name of a source and what happened to it.
        statistics: Collects latencies and drops.

    Yields:
        Predictions of each source in the order of time. A source that fails gives a prediction
        with its error. The generator ends when all sources have ended.
    """
    waiting = Waiting(len(places))
    statistics = statistics or Statistics([one.name for one in places])
    sources = [
        LiveSource(one.place, number, model.media_spec, how, waiting, one.first)
        for number, one in enumerate(places)
    ]
    for source in sources:
        source.start()
    num_running = len(sources)
    try:
        while num_running:
            taken = waiting.take(BATCH, _POLL_S)
            windows = [item for item in taken if item.window is not None]
            for prediction in _predicted(model, backbone, windows, places, top, unknown_threshold):
                statistics.add(prediction)
                yield prediction
            for item in taken:
                name = places[item.source].name
                if item.note is not None and remark is not None:
                    remark(name, item.note)
                num_running -= item.is_end
                if item.error is not None:
                    yield LivePrediction(file=name, error=item.error, error_code=item.code)
    finally:
        waiting.stop()


def _predicted(
    model: Model,
    backbone: Backbone | None,
    items: Sequence[Item],
    places: Sequence[Place],
    top: int,
    unknown_threshold: float | None,
) -> Iterator[LivePrediction]:
    """Predict windows as one batch."""
    windows = [item.window for item in items if item.window is not None]
    read = predict_batch(model, backbone, [one.decoded for one in windows])
    answered_s, now = time.monotonic(), datetime.now(UTC)
    for row, (item, window) in enumerate(zip(items, windows, strict=True)):
        threshold = threshold_of(model, window.decoded, unknown_threshold)
        name = places[item.source].name
        found = prediction_of(model, name, window.decoded, read, row, top, threshold)
        latency_s = max(answered_s - window.arrived_s, 0.0)
        received = now - timedelta(seconds=latency_s)
        yield LivePrediction(
            **vars(found),
            received_at=received.isoformat(timespec="milliseconds"),
            latency_s=round(latency_s, 3),
            is_paced=item.is_paced,
            num_dropped=item.num_dropped,
        )
