"""Misclassified test clips of a run: path, labels, prediction, and a frame from its store."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.store import Store
from cign.errors import InputError
from cign.metrics.calibration import kind_of_scores
from cign.metrics.classes import WrongClip, wrong_clips
from cign.report.runs import Run

FRAME_PX = 112
_QUALITY = 80  # JPEG quality: about 4 kB per frame
# Number of clips shown per run, by the largest number of runs on the page. Pages with more runs
# show none, so that they stay small.
_MOST = {1: 24, 6: 12, 24: 6}


class Stores:
    """The stores that runs were tested on, each opened once.

    Args:
        wanted: Whether frames are shown.
    """

    def __init__(self, wanted: bool = True) -> None:
        self._wanted = wanted
        self._opened: dict[Path, Store | None] = {}

    def of(self, run: Run) -> Store | None:
        """The store whose clips a run was tested on; None if it is missing or has changed."""
        if not self._wanted:
            return None
        about = run.metrics["store"]
        place = about.get("test_path", about.get("path"))
        list_hash = about.get("test_list_hash", about.get("list_hash"))
        if not place:
            return None
        # A relative path refers to the working folder of the run: this one, or a parent of the run.
        above = [folder / place for folder in run.folder.absolute().parents]
        for folder in dict.fromkeys((Path(place).absolute(), *above)):
            store = self._open(folder)
            if store is not None and store.list_hash == list_hash:
                return store
        return None

    def _open(self, folder: Path) -> Store | None:
        if folder not in self._opened:
            try:
                self._opened[folder] = Store.open(folder)
            except InputError:  # the report does not require the store
                self._opened[folder] = None
        return self._opened[folder]


def wrong_clips_of(run: Run, num_runs: int, stores: Stores) -> dict[str, Any] | None:
    """Data of a run's misclassified clips for the page.

    Args:
        run: A run with at least one task learned.
        num_runs: Number of runs on the page.
        stores: Source of the frames.

    Returns:
        None if nothing is shown: no misclassified clip, or too many runs on the page.
    """
    most = next((number for runs, number in _MOST.items() if num_runs <= runs), 0)
    found = wrong_clips(run.predictions) if most else []
    if not found:
        return None
    last = run.predictions.num_tasks_done - 1
    scores = run.predictions.scores[last]["audio_visual"]
    has_probabilities = run.has_scores and kind_of_scores(scores) is not None
    shown = found[:most]
    store = stores.of(run)
    frames = {} if store is None or store.spec is None else _frames(store, shown)
    return {
        "num_wrong": len(found),
        "has_frames": bool(frames),
        "by_probability": has_probabilities,
        "clips": [
            {
                "path": one.clip,
                "labels": one.labels,
                "predicted": one.predicted,
                "probability": one.score if has_probabilities else None,
                "frame": frames.get(one.clip),
            }
            for one in shown
        ],
    }


def _frames(store: Store, clips: Sequence[WrongClip]) -> dict[str, str]:
    """The middle stored frame of each clip with video, as a data URL, by clip id."""
    place = {clip.id: index for index, clip in enumerate(store.table.clips)}
    shown = [one.clip for one in clips if one.clip in place and store.visual_ok[place[one.clip]]]
    if not shown:
        return {}
    frames = store.frames(np.array([place[name] for name in shown], np.int64))
    middle = frames.shape[1] // 2
    return {name: jpeg(frame[middle]) for name, frame in zip(shown, frames, strict=True)}


def jpeg(frame: NDArray[np.uint8], longest_px: int = FRAME_PX) -> str:
    """Encode a frame, uint8 RGB [S, S, 3], as a small JPEG in a data URL; deterministic."""
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((longest_px, longest_px))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
