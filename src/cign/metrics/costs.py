"""What a run cost, and which runs no other beats at its price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DEFINITIONS: dict[str, str] = {
    "seconds": "wall-clock seconds of learning, choosing exemplars and testing after each task, "
    "without making the tokens",
    "seconds_per_clip": "seconds / training clips of all tasks",
    "peak_memory_mb": "the most memory that the process held, in MB of 1,000,000 bytes",
    "bytes_kept": "bytes of old clips that may be used again (exemplars as they are stored) plus "
    "bytes of statistics of them",
    "bytes_per_class": "bytes kept / classes of the run",
    "trainable_parameters": "numbers that gradients may change",
}


def summarise(
    costs: Mapping[str, float | None], *, num_train: int | None, num_classes: int
) -> dict[str, float | None]:
    """The numbers of `DEFINITIONS`; None where a run did not record what they need.

    Args:
        costs: As ``metrics.json`` holds them.
        num_train: Training clips of all tasks.
        num_classes: Classes of the run.
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
    """Which points no other beats: none is as cheap and better, or as good and cheaper.

    Args:
        prices: Lower is better.
        values: Higher is better.
    """
    points = list(zip(prices, values, strict=True))
    return [
        not any(p <= price and v >= value and (p < price or v > value) for p, v in points)
        for price, value in points
    ]
