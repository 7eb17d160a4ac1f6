"""Where and when: does the strongest patch or moment of a true class lie on it?

A hit is the centre of the strongest token in the true box (interval). Every figure is to be read
beside two that know nothing: a constant map of the centre and a random one (protocol, trap 16).

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
    """Hits of maps and of maps that know nothing, one for each labelled and present object.

    Attributes:
        hits: Whether the strongest token lies on the object, bool, shape [K].
        centre: Chance of a constant map of the centre, shape [K]; where several tokens are equally
            near to the centre, their mean.
        random: Chance of a random map: the share of the tokens that lie on the object, shape [K].
    """

    hits: Bools
    centre: Floats
    random: Floats

    def rates(self) -> dict[str, float]:
        """Means in percent; NaN without a map."""
        if len(self.hits) == 0:
            return dict.fromkeys(("hit", "centre", "random"), float("nan"))
        parts = {"hit": self.hits, "centre": self.centre, "random": self.random}
        return {
            name: 100.0 * float(np.asarray(x, dtype=np.float64).mean()) for name, x in parts.items()
        }


def localise_patches(maps: Floats, boxes: Floats, grid: tuple[int, int]) -> Localisation:
    """Compare maps of a frame with boxes.

    Args:
        maps: One value for each patch, row by row, shape [K, rows * columns].
        boxes: x0, y0, x1, y1 in 0..1 of the frame, shape [K, 4].
        grid: Rows and columns.

    Returns:
        Hits; of equal values the first counts.
    """
    rows, columns = grid
    y, x = np.divmod(np.arange(rows * columns), columns)
    x, y = (x + 0.5) / columns, (y + 0.5) / rows
    x0, y0, x1, y1 = (np.asarray(boxes, dtype=np.float64)[:, i, None] for i in range(4))
    inside = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)  # [K, P]
    return _localise(maps, inside, np.hypot(x - 0.5, y - 0.5))


def localise_moments(maps: Floats, intervals: Floats, window_s: float) -> Localisation:
    """Compare maps along time with sounding intervals.

    Args:
        maps: One value for each audio token in its order, shape [K, P].
        intervals: Start and end in seconds from the window's start, shape [K, 2].
        window_s: Length of the window that the tokens cover, seconds.
    """
    num_tokens = maps.shape[1]
    middle_s = (np.arange(num_tokens) + 0.5) / num_tokens * window_s
    start_s, end_s = (np.asarray(intervals, dtype=np.float64)[:, i, None] for i in range(2))
    inside = (start_s <= middle_s) & (middle_s <= end_s)
    return _localise(maps, inside, np.abs(middle_s - 0.5 * window_s))


def _localise(maps: Floats, inside: Bools, from_centre: Floats) -> Localisation:
    """Hits of the maps' strongest tokens, of the most central ones and of any."""
    if maps.shape != inside.shape:
        raise ValueError(f"maps of shape {maps.shape} do not fit tokens of shape {inside.shape}")
    strongest = maps.argmax(axis=1)
    central = np.isclose(from_centre, from_centre.min())
    return Localisation(
        hits=inside[np.arange(len(maps)), strongest],
        centre=inside[:, central].mean(axis=1),
        random=inside.mean(axis=1),
    )
