"""Metrics of a server in the format of Prometheus.

With several workers, all processes write to files in a folder (`share_metrics`), and each of them
answers with the sums.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SHARED = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(folder: Path) -> None:
    """Let this process and those it starts share their metrics; before the first `Metrics`."""
    os.environ[_SHARED] = str(folder)


class Metrics:
    """Counters, gauges and histograms; the names are in docs/serving.md."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        own = CollectorRegistry()
        self._registry = own
        self.requests = Counter(
            *("cign_requests", "Answered requests"), ["route", "status"], registry=own
        )
        self.latency = Histogram(
            *("cign_request_seconds", "Seconds from the headers of a request to its answer"),
            *(["route"],),
            buckets=_SECONDS,
            registry=own,
        )
        self.batches = Histogram(
            *("cign_batch_size", "Windows that were encoded together"), buckets=_SIZES, registry=own
        )
        self.queue = Gauge(
            *("cign_queue", "Requests that are received, decoded or computed"),
            multiprocess_mode="livesum",
            registry=own,
        )
        self.decode_errors = Counter(
            *("cign_decode_errors", "Files that could not be read"), ["code"], registry=own
        )
        self.version = Gauge(
            *("cign_model_version", "Version of the model in memory; with several workers: least"),
            multiprocess_mode="livemin",
            registry=own,
        )
        self.reload_failed = Gauge(
            *("cign_reload_failed", "1 while the version in the folder cannot be loaded"),
            multiprocess_mode="livemax",
            registry=own,
        )
        self.predictions = Counter(
            *("cign_predictions", "Predicted windows"), ["model_version"], registry=own
        )

    def text(self) -> tuple[bytes, str]:
        """The metrics and their content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._registry
        if _SHARED in os.environ:
            registry = CollectorRegistry()
            collector: Callable[..., object] = MultiProcessCollector
            collector(registry)
        return generate_latest(registry), CONTENT_TYPE_LATEST


def forget_worker(process: int) -> None:
    """Remove the gauges of a worker that has ended; its counts remain."""
    from prometheus_client.multiprocess import mark_process_dead

    mark: Callable[[int], None] = mark_process_dead
    mark(process)
