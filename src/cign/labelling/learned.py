"""The clips that a model learned, read again from a store, a folder or a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cign.backbones.base import Backbone
from cign.inference.engines import engine_of
from cign.inference.leave_one_out import LearnedPredictions, check_leaves_out, predict_left_out
from cign.inference.sources import LearnedClips
from cign.saved_model.model import Model
from cign.updating.edits import encoders_for
from cign.updating.new_clips import Source, opened
from cign.updating.several_stores import LearnedMedia, media_of, path_or_stores
from cign.utils.cluster import check_engine
from cign.utils.progress import Progress


@contextmanager
def predicted_again(
    model: Model,
    sources: Source | Sequence[Source],
    backbone: Callable[[], Backbone | None],
    *,
    engine: str = "local",
    num_workers: int | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> Iterator[tuple[LearnedPredictions, LearnedMedia | None, tuple[str, ...]]]:
    """Read the clips that a model learned, and predict each without its source.

    Args:
        model: A model.
        sources: A prepared store; a folder of class folders, a table or features, which are decoded
            again; or several stores, which are taken for one.
        backbone: Returns the model's backbone; called only if tokens must be computed.
        engine: ``local``, or ``ray`` for stores whose clips are predicted on a cluster.
        num_workers: Decoders; with ``ray`` the largest number of concurrent calls.
        progress: Receives the progress of clips.
        how: ``format`` and ``media`` of `cign.updating.new_clips.opened`.

    Yields:
        The predictions; frames and audio, None for features and for stores with different media;
        and notes on clips that were not decoded.

    Raises:
        InputError: If the method cannot leave out clips, or the clips are not those that the model
            learned.
    """
    check_leaves_out(model)  # before anything is decoded
    check_engine(engine, num_workers)
    given = path_or_stores(sources, engine, **how)
    if isinstance(given, Path):
        encoders = encoders_for(model, given, how.get("format"), backbone)
        how |= {"num_workers": num_workers, "progress": progress}
        with opened(given, encoders, **how) as (store, _, notes):
            learned = LearnedClips.open(model, store, by_content=True)
            learned = replace(learned, where=str(given))
            predictions = predict_left_out(model, learned, progress=progress)
            yield predictions, media_of([store], predictions.left_out.indices), notes
        return
    with engine_of(engine, model, num_workers if engine == "ray" else None) as on:
        learned = LearnedClips.open(model, *given, by_content=True, check=not on.is_remote)
        predictions = predict_left_out(model, learned, engine=on, progress=progress)
    yield predictions, media_of(given, predictions.left_out.indices), ()
