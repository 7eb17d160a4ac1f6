"""Localisation metrics: is the strongest token of a true class inside the object or event?

It is a hit if the centre of the strongest token is inside the true box (image) or interval (audio).
Compare every hit rate with two baselines that ignore the clip: a constant map that peaks at the
centre, and a random map.

Legend: K maps, P tokens of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """Hits of maps and of two baselines, one entry for each labelled object that is present.

    Attributes:
        hits: Whether the strongest token is on the object, bool, shape [K].
        centre: Hit probability of a map that peaks at the centre, shape [K]; the mean over the
            tokens nearest to the centre if there are several.
        random: Hit probability of a random map: the share of the tokens on the object, shape [K].
    """

    hits: Bools
    centre: Floats
    random: Floats

    def rates(self) -> dict[str, float]:
        """Mean hit rates in percent; NaN without maps."""
        if len(self.hits) == 0:
            return dict.fromkeys(("hit", "centre", "random"), float("nan"))
        parts = {"hit": self.hits, "centre": self.centre, "random": self.random}
        return {
            name: 100.0 * float(np.asarray(x, dtype=np.float64).mean()) for name, x in parts.items()
        }


def localise_patches(maps: Floats, boxes: Floats, grid: tuple[int, int]) -> Localisation:
    """Compare maps over the patches of a frame with boxes.

    Args:
        maps: One value for each patch, row-major, shape [K, rows * columns].
        boxes: x0, y0, x1, y1 as fractions of the frame in [0, 1], shape [K, 4].
        grid: Numbers of rows and columns.

    Returns:
        Hits; ties go to the first patch.
    """
    rows, columns = grid
    y, x = np.divmod(np.arange(rows * columns), columns)
    x, y = (x + 0.5) / columns, (y + 0.5) / rows
    x0, y0, x1, y1 = (np.asarray(boxes, dtype=np.float64)[:, i, None] for i in range(4))
    inside = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)  # [K, P]
    return _localise(maps, inside, np.hypot(x - 0.5, y - 0.5))


def localise_moments(maps: Floats, intervals: Floats, window_s: float) -> Localisation:
    """Compare maps over time with the intervals in which an object sounds.

    Args:
        maps: One value for each audio token in order of time, shape [K, P].
        intervals: Start and end in seconds from the start of the window, shape [K, 2].
        window_s: Length of the window that the tokens cover, in seconds.
    """
    num_tokens = maps.shape[1]
    middle_s = (np.arange(num_tokens) + 0.5) / num_tokens * window_s
    start_s, end_s = (np.asarray(intervals, dtype=np.float64)[:, i, None] for i in range(2))
    inside = (start_s <= middle_s) & (middle_s <= end_s)
    return _localise(maps, inside, np.abs(middle_s - 0.5 * window_s))


def _localise(maps: Floats, inside: Bools, from_centre: Floats) -> Localisation:
    """Hits of the strongest token of each map, and of both baselines."""
    if maps.shape != inside.shape:
        raise ValueError(f"maps of shape {maps.shape} do not fit tokens of shape {inside.shape}")
    strongest = maps.argmax(axis=1)
    central = np.isclose(from_centre, from_centre.min())
    return Localisation(
        hits=inside[np.arange(len(maps)), strongest],
        centre=inside[:, central].mean(axis=1),
        random=inside.mean(axis=1),
    )
