"""Costs of a run, and the Pareto front of runs over cost and quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cign.metrics.catalogue import RUN, MetricGroup, Numbers, Stored, register_metrics

DEFINITIONS: dict[str, str] = {
    "seconds": "wall-clock seconds of training, exemplar selection and testing after each "
    "task, without encoding the clips as tokens",
    "seconds_per_clip": "seconds / training clips of all tasks",
    "peak_memory_mb": "peak memory of the process, in MB of 1,000,000 bytes",
    "bytes_kept": "bytes of the exemplars of old classes, as they are stored in memory, plus bytes "
    "of the statistics of old clips",
    "bytes_per_class": "bytes_kept / classes of the run",
    "trainable_parameters": "number of parameters that gradients update",
}


def summarise(
    costs: Mapping[str, float | None], *, num_train: int | None, num_classes: int
) -> dict[str, float | None]:
    """Compute the metrics of `DEFINITIONS`; None if a run did not record the data.

    Args:
        costs: Costs as in ``metrics.json``.
        num_train: Number of training clips of all tasks.
        num_classes: Number of classes of the run.
    """
    seconds, num_bytes = costs.get("seconds"), costs.get("bytes_kept")
    return {
        "seconds": seconds,
        "seconds_per_clip": seconds / num_train if seconds is not None and num_train else None,
        "peak_memory_mb": costs.get("peak_memory_mb"),
        "bytes_kept": num_bytes,
        "bytes_per_class": None if num_bytes is None else num_bytes / num_classes,
        "trainable_parameters": costs.get("trainable_parameters"),
    }


def unbeaten(prices: Sequence[float], values: Sequence[float]) -> list[bool]:
    """Which points are on the Pareto front.

    No other point is better at the same or a lower price, or cheaper at the same or a higher value.

    Args:
        prices: Lower is better.
        values: Higher is better.
    """
    points = list(zip(prices, values, strict=True))
    return [
        not any(p <= price and v >= value and (p < price or v > value) for p, v in points)
        for price, value in points
    ]


@register_metrics("costs")
class Costs(MetricGroup):
    """Costs recorded with the run."""

    title = "Costs"
    position = 70
    definitions = DEFINITIONS
    decimals = dict.fromkeys(DEFINITIONS, 0) | {"seconds": 1, "seconds_per_clip": 4}

    @staticmethod
    def compute(stored: Stored) -> Numbers:
        """See `MetricGroup`."""
        num_classes = len(stored.predictions.class_names)
        found = summarise(stored.costs, num_train=stored.total_train, num_classes=num_classes)
        return {RUN: dict(found)}
