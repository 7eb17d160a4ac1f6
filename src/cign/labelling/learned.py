"""The clips that a model learned, read again from a store, a folder or a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.backbones.base import Backbone
from cign.data.media.decode import MediaSpec
from cign.data.tasks import IntArray
from cign.inference.leave_one_out import LearnedPredictions, check_leaves_out, predict_left_out
from cign.inference.sources import LearnedClips
from cign.saved_model.model import Model
from cign.updating.edits import encoders_for
from cign.updating.new_clips import Source, opened, unprepared


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


@contextmanager
def predicted_again(
    model: Model, source: Source, backbone: Callable[[], Backbone | None], **how: Any
) -> Iterator[tuple[LearnedPredictions, LearnedMedia | None, tuple[str, ...]]]:
    """Read the clips that a model learned, and predict each without its source.

    Args:
        model: A model.
        source: A prepared store; or a folder of class folders, a table or features, which are
            decoded again.
        backbone: Returns the model's backbone; called only if tokens must be computed.
        how: Options of `cign.updating.new_clips.opened`.

    Yields:
        The predictions; frames and audio, None for features; and notes on clips that were not
        decoded.

    Raises:
        InputError: If the method cannot leave out clips, or the clips are not those that the model
            learned.
    """
    check_leaves_out(model)  # before anything is decoded
    path, encoders = unprepared(source), None
    if path is not None:
        encoders = encoders_for(model, path, how.get("format"), backbone)
    with opened(source, encoders, **how) as (found, _, notes):
        learned = LearnedClips.open(model, found, by_content=True)
        if path is not None:
            learned = replace(learned, where=str(path))
        predictions = predict_left_out(model, learned)
        rows = predictions.left_out.indices
        media = None
        if found.spec is not None:
            middle = found.spec.num_frames // 2
            media = LearnedMedia(
                spec=found.spec,
                frames=lambda some: found.frames(rows[some])[:, middle],
                audio=lambda some: found.audio(rows[some]),
                has_audio=found.audio_ok[rows],
                has_visual=found.visual_ok[rows],
            )
        yield predictions, media, notes
