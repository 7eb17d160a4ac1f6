"""Two-dimensional maps of embeddings by t-SNE, computed without labels from a common start.

A map preserves neighbourhoods but not distances and sizes. All metrics are therefore computed on
the embeddings themselves (`cign.metrics.embeddings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from cign.metrics.embedded import Embeddings, sample_clips
from cign.metrics.embeddings import taught
from cign.report.svg import NUM_COLOURS

MAX_POINTS = 400
SIZE = 1000
_MARGIN = 30
_PERPLEXITY = 30.0
_NUM_STEPS = 500
_START = 1e-4  # standard deviation of the initial layout, as usual for t-SNE
_SHAPES = ("round", "square", "round hollow", "square hollow")
NUM_LOOKS = NUM_COLOURS * len(_SHAPES)

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Positions of clips on a map.

    Attributes:
        places: Positions in 0..`SIZE`, int, shape [N, 2].
        classes: True classes, as indices into ``class_names`` of the embeddings, shape [N].
    """

    places: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]


def lay_out(runs: Sequence[Embeddings]) -> list[Layout | None]:
    """Lay out the same clips of several runs, all from the first run's two principal components.

    Args:
        runs: Embeddings of the same test list.

    Returns:
        One layout per run; None if there are fewer than five clips or all embeddings are equal.
    """
    start: tuple[list[str], Floats] | None = None
    done: dict[bytes, npt.NDArray[np.int64]] = {}
    result: list[Layout | None] = []
    for run in runs:
        rows, classes, _ = taught(run)
        names = [run.clip_ids[row] for row in rows]
        chosen = sample_clips(names, MAX_POINTS)
        vectors = run.vectors[rows[chosen]].astype(np.float64)
        if len(chosen) < 5 or (vectors == vectors[0]).all():
            result.append(None)
            continue
        names = [names[i] for i in chosen]
        if start is None or start[0] != names:
            start = (names, _first_components(vectors))
        key = vectors.tobytes()
        if key not in done:  # runs on frozen features often share their embeddings
            done[key] = _fit(_tsne(vectors, start[1]))
        result.append(Layout(places=done[key], classes=classes[chosen]))
    return result


def map_of(layout: Layout, class_names: Sequence[str], looks: dict[str, int], title: str) -> Markup:
    """Draw a layout: one path of dots for each class.

    Args:
        layout: Layout of a run.
        class_names: Class names of the run.
        looks: The look of each class, the same on all maps of a page.
        title: Title for screen readers.

    Returns:
        An ``<svg>`` element.
    """
    parts = []
    for c in np.unique(layout.classes):
        look = looks[class_names[c]]
        path = "".join(f"M{x} {y}h0" for x, y in layout.places[layout.classes == c])
        parts.append(
            f'<g class="k s{look % NUM_COLOURS} {shape_of(look)}" data-k="{look}">'
            f'<title>{escape(class_names[c])}</title><path d="{path}"/>'
            + (f'<path class="hole" d="{path}"/>' if "hollow" in shape_of(look) else "")
            + "</g>"
        )
    return Markup(
        f'<svg class="map" viewBox="0 0 {SIZE} {SIZE}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def dot(look: int) -> Markup:
    """Legend entry of a class."""
    hole = '<path class="hole" d="M50 50h0"/>' if "hollow" in shape_of(look) else ""
    return Markup(
        f'<svg class="map-dot s{look % NUM_COLOURS} {shape_of(look)}" viewBox="0 0 100 100" '
        f'width="12" height="12" aria-hidden="true"><path d="M50 50h0"/>{hole}</svg>'
    )


def shape_of(look: int) -> str:
    """Style classes of a look's shape."""
    return _SHAPES[look // NUM_COLOURS % len(_SHAPES)]


def _first_components(vectors: Floats) -> Floats:
    """The first two principal components, scaled down, with deterministic signs."""
    centred = vectors - vectors.mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    start = np.zeros((len(vectors), 2))
    count = min(2, len(values))
    start[:, :count] = (left * values * np.where(signs == 0, 1, signs))[:, :count]
    deviation = start[:, 0].std()
    return np.asarray(start / deviation * _START if deviation > 0 else start)


def _tsne(vectors: Floats, start: Floats) -> Floats:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    tsne = TSNE(
        perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
        init=start.astype(np.float32),
        max_iter=_NUM_STEPS,
        random_state=0,
    )
    with threadpool_limits(1):  # fixed summation order: the map is independent of the core count
        return np.asarray(tsne.fit_transform(vectors))


def _fit(places: Floats) -> npt.NDArray[np.int64]:
    """Scale positions to integers inside the frame, by the same factor in both directions."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = max(float((high - low).max()), 1e-12)
    centred = (places - (low + high) / 2) / extent * (SIZE - 2 * _MARGIN)
    return np.asarray(np.round(centred + SIZE / 2), dtype=np.int64)
