"""Latencies and dropped windows of live sources. This module does not import torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

# Latencies of the last windows, so that memory does not grow.
MOST_LATENCIES = 10_000


class Statistics:
    """Counts windows, drops and latencies of each source.

    Args:
        names: Names of the sources.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._by_name = {name: _OfSource() for name in names}

    def add(self, prediction: Any) -> None:
        """Count a prediction of `cign.inference.live.predict_live`."""
        self._by_name[prediction.file].add(prediction)

    def lines(self) -> list[str]:
        """One line for each source that sent a window."""
        return [f"{name}: {one.line()}" for name, one in self._by_name.items() if one.num_windows]


class _OfSource:
    def __init__(self) -> None:
        self.num_windows = self.num_dropped = 0
        self.latencies_s: dict[bool, deque[float]] = {
            is_paced: deque(maxlen=MOST_LATENCIES) for is_paced in (True, False)
        }

    def add(self, prediction: Any) -> None:
        self.num_windows += 1
        self.num_dropped += prediction.num_dropped
        self.latencies_s[prediction.is_paced].append(prediction.latency_s)

    def line(self) -> str:
        windows = "window" if self.num_windows == 1 else "windows"
        parts = [f"{self.num_windows} {windows}, {self.num_dropped} dropped"]
        for is_paced, values in self.latencies_s.items():
            if values:
                median, late = np.percentile(np.array(values), [50, 95])
                kind = "" if is_paced else " of windows that came faster than real time"
                parts.append(f"latency{kind} {median:.2f} s (median), {late:.2f} s (95 %)")
        return "; ".join(parts)
