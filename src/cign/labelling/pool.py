"""Margins and features of unlabelled clips, read once or twice in bounded memory.

Legend: n clips of a pool, B clips of a batch, C classes, D width of a token, W width of the
features of a modality.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cign.backbones.base import Backbone
from cign.data.batches import ArraySource, BoolArray, cut
from cign.data.media.decode import Decoded
from cign.data.tasks import IntArray
from cign.inference.batch_results import BatchPredictions, Window, predict_inputs
from cign.inference.features import FeatureClip
from cign.inference.inputs import Input
from cign.inference.predict import predicted_batches
from cign.labelling.known import KnownClips
from cign.saved_model.model import Model
from cign.utils.progress import Progress
from cign.vocabulary import EVALUATION_BATCH, UNIMODAL

Floats = NDArray[np.floating[Any]]


def margins(probabilities: Floats, *, multi_label: bool) -> Floats:
    """How certain a model is of clips: the margin of margin sampling (Scheffer et al., IDA 2001).

    With one label per clip, the difference of the two largest probabilities (Settles 2009, section
    3.1). With several, our generalisation: each class is a decision with the probabilities p and
    1 - p, and the margin is that of the least certain one, the least 2 |p - 1/2| over the classes.
    A model of a single class is as certain of every clip: 0.

    Args:
        probabilities: Shape [B, C].
        multi_label: Whether clips may have several labels.

    Returns:
        Margins, 0..1, shape [B].
    """
    if multi_label:
        least: Floats = 2.0 * np.abs(probabilities - 0.5).min(axis=1)
        return least
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities), probabilities.dtype)
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    difference: Floats = two[:, 1] - two[:, 0]
    return difference


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Results of some clips of a pool.

    Attributes:
        numbers: Number of each clip in the pool, int64, shape [B].
        margins: See `margins`, shape [B].
        best: The two most probable classes, the single one of a model of one class; [B, 2 or 1].
        probabilities: Their audio-visual probabilities, same shape.
        unknown: Unknown scores, shape [B].
        has_audio: Whether each clip has audio, shape [B].
        has_visual: Whether each clip has video, shape [B].
        audio: Pooled audio features, shape [B, W]; zeros for a clip without audio.
        visual: Pooled visual features, likewise.
    """

    numbers: IntArray
    margins: Floats
    best: IntArray
    probabilities: Floats
    unknown: Floats
    has_audio: BoolArray
    has_visual: BoolArray
    audio: Floats
    visual: Floats

    @classmethod
    def of(
        cls, model: Model, numbers: IntArray, batch: BatchPredictions, clips: Sequence[Window]
    ) -> Self:
        """The results of a batch."""
        found = batch.probabilities["audio_visual"]
        best = np.argsort(-found, axis=1, kind="stable")[:, :2]
        has = {
            "audio": np.array([clip.has_audio for clip in clips], np.bool_),
            "visual": np.array([clip.has_visual for clip in clips], np.bool_),
        }
        features = {
            name: np.where(has[name][:, None], batch.features[name], 0) for name in UNIMODAL
        }
        return cls(
            numbers=numbers,
            margins=margins(found, multi_label=model.method.setup.multi_label),
            best=best,
            probabilities=np.take_along_axis(found, best, axis=1),
            unknown=batch.unknown["audio_visual"],
            has_audio=has["audio"],
            has_visual=has["visual"],
            audio=features["audio"],
            visual=features["visual"],
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: IntArray) -> Self:
        """The results of some of the clips."""
        return replace(self, **{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def least_certain(batches: Iterable[Scored], number: int) -> Scored | None:
    """The clips with the smallest margins; equal margins in the order of the pool.

    At most twice as many clips, and a batch, are in memory.

    Args:
        batches: Results of all clips, in any order and any batches.
        number: How many clips, at least 1.

    Returns:
        Their results by ascending margin; None without clips.
    """
    found: list[Scored] = []
    for batch in batches:
        found.append(batch)
        if sum(map(len, found)) > 2 * number:
            found = [_first(found, number)]
    return _first(found, number) if any(map(len, found)) else None


def _first(parts: list[Scored], number: int) -> Scored:
    joined = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])
        for one in fields(parts[0])
    }
    order = np.lexsort((joined["numbers"], joined["margins"]))[:number]
    return Scored(**{name: values[order] for name, values in joined.items()})


# --------------------------------------------------------------- clips of a store


def scored_clips(
    model: Model,
    source: ArraySource,
    indices: IntArray,
    known: KnownClips,
    progress: Progress,
    *,
    batch_size: int = EVALUATION_BATCH,
) -> Iterator[Scored]:
    """Results of clips that a source reads as inputs of the model: tokens, or media.

    Args:
        model: The model.
        source: Reads the clips.
        indices: Their indices, which are their numbers in the results.
        known: Recognises validation clips of the model, which are left out.
        progress: Advanced for each clip.
        batch_size: Clips per forward pass.
    """
    model.method.eval()
    for some in cut(indices, batch_size):
        clips: list[Window] = [
            FeatureClip(has_audio=bool(a), has_visual=bool(v))
            for a, v in zip(*source.availability(some), strict=True)
        ]
        audio, visual = (values.to(model.device) for values in source.read(some))
        batch = predict_inputs(model, audio, visual, clips, features=True, tokens=True)
        yield _without_validation(known, Scored.of(model, some, batch, clips), batch)
        release(source)
        progress.advance(len(some))


def _without_validation(
    known: KnownClips, scored: Scored, batch: BatchPredictions, rows: IntArray | None = None
) -> Scored:
    """The results of a batch, or of some rows of it, without those of validation clips."""
    assert batch.tokens is not None
    rows = np.arange(len(scored)) if rows is None else rows
    audio, visual = (tokens.cpu()[rows] for tokens in batch.tokens)
    return scored.take(rows[~known.validation(audio, visual)])


def release(source: ArraySource) -> None:
    """Keep resident memory at the size of a part, not of the store."""
    if source.release is not None:
        source.release()


# --------------------------------------------------------------------- media files


def scored_files(
    model: Model,
    backbone: Backbone | None,
    files: Iterable[Input],
    known: KnownClips,
    unreadable: list[tuple[str, str]],
    progress: Progress,
) -> Iterator[Scored]:
    """Results of media files and parts of them.

    Args:
        model: The model.
        backbone: Its frozen backbone; None if the method contains its encoders.
        files: The files; their positions are their numbers in the results.
        known: Recognises clips that the model knows, which are left out.
        unreadable: Receives the name of each file that cannot be decoded, and why.
        progress: Advanced for each file.
    """
    begin = 0
    results = {"features": True, "tokens": True}
    for items, batch in predicted_batches(model, backbone, files, progress=progress, **results):
        numbers, clips = [], list[Decoded]()
        for number, (name, decoded) in enumerate(items, begin):
            if isinstance(decoded, Decoded):
                numbers.append(number)
                clips.append(decoded)
            else:
                unreadable.append((name, decoded.reason))
        begin += len(items)
        if clips:
            hashes = [bytes.fromhex(clip.content_hash) for clip in clips]
            learned = known.learned(np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32))
            scored = Scored.of(model, np.array(numbers, np.int64), batch, clips)
            yield _without_validation(known, scored, batch, np.flatnonzero(~learned))
