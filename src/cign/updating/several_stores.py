"""Several stores that are taken for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cign.data.located import Located
from cign.data.media.decode import MediaSpec
from cign.data.store import Store
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.updating.new_clips import Source, refuse_reading, unprepared


def path_or_stores(
    sources: Source | Sequence[Source],
    engine: str,
    *,
    format: str | None = None,
    media: Sequence[Path] = (),
) -> Path | list[Store]:
    """The path of a source whose clips must be decoded, or prepared stores that are taken for one.

    Args:
        sources: One source, or several stores.
        engine: What computes; see `cign.utils.cluster.ENGINES`. A cluster takes stores only.
        format: How clips would be decoded, which stores refuse.
        media: The same.

    Returns:
        A path if it has to be decoded, or else the opened stores.

    Raises:
        InputError: If there is no source, one of several is not prepared, one is named twice, or
            ``format`` or ``media`` is given for stores.
    """
    given = [sources] if isinstance(sources, (Store, Path, str)) else list(sources)
    paths = [path for source in given if (path := unprepared(source)) is not None]
    if paths and engine == "local" and len(given) == 1:
        return paths[0]
    if paths:
        what = "--engine ray takes" if engine == "ray" else "several sources must be"
        raise InputError(
            "wrong-format",
            f"{paths[0]} is not a prepared store, but {what} stores: make one by `cign prepare "
            f"{paths[0]} STORE`",
        )
    stores = [one if isinstance(one, Store) else Store.open(Path(one)) for one in given]
    places = [store.folder.resolve() for store in stores]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise InputError("conflicting-options", f"store {twice} is named twice: name it once")
    if not stores:
        raise InputError("missing-option", "no clips are given: name at least one source")
    refuse_reading(stores[0].folder, format, media)
    return stores


@dataclass(frozen=True, kw_only=True)
class LearnedMedia:
    """Frames and audio of the learned clips, in their order.

    Attributes:
        spec: How they were decoded.
        frames: Middle frame of some clips, uint8 RGB [B, S, S, 3].
        audio: Audio of some clips, int16 [B, L].
        has_audio: Whether each clip has an audio track, shape [n].
        has_visual: Whether each clip has a video track, shape [n].
    """

    spec: MediaSpec
    frames: Callable[[IntArray], NDArray[np.uint8]]
    audio: Callable[[IntArray], NDArray[np.int16]]
    has_audio: NDArray[np.bool_]
    has_visual: NDArray[np.bool_]


def media_of(stores: Sequence[Store], indices: IntArray) -> LearnedMedia | None:
    """Frames and audio of clips of stores.

    Args:
        stores: The stores.
        indices: The clips, counted through all stores, shape [n].

    Returns:
        None for stores of features, and where the stores hold different media.
    """
    spec = stores[0].spec
    if spec is None or any(store.spec != spec for store in stores):
        return None
    located = Located.of(stores, None, 0).take(indices)
    source, middle = located.source(), spec.num_frames // 2
    return LearnedMedia(
        spec=spec,
        frames=lambda some: source.visual(some)[:, middle],
        audio=source.audio,
        has_audio=located.has_audio,
        has_visual=located.has_visual,
    )
