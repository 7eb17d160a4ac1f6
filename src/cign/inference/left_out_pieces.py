"""Learned clips scored without their sources, piece by piece, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cign.data.batches import cut
from cign.data.located import Located
from cign.data.tasks import IntArray, TaskClips
from cign.inference.engines import Engine, run_checked
from cign.inference.sources import LearnedClips
from cign.methods.base import Batch
from cign.methods.capabilities import sums_of_views
from cign.methods.left_out import ClipsToLeaveOut, Piece, ScoredPiece, SumsOfViews
from cign.methods.loo_pieces import scored_pieces
from cign.saved_model.model import Model
from cign.training.feed import Feed
from cign.utils.progress import Progress
from cign.vocabulary import EVALUATION_BATCH


@dataclass(frozen=True, kw_only=True)
class RemotePiece:
    """A piece with all that a machine without the list of clips needs.

    Attributes:
        located: Where its clips are.
        clips: Their labels and sources.
        piece: The piece, with positions among its clips.
    """

    located: Located
    clips: TaskClips
    piece: Piece

    @property
    def num_clips(self) -> int:
        """See `cign.inference.engines.Part`."""
        return num_scored(self.piece)

    def run(self, model: Model, progress: Progress) -> ScoredPiece:
        """Score its clips."""
        sums = sums_of_views(model.method)
        assert sums is not None
        feed = Feed(clips=self.clips, source=self.located.source(), device=model.device)
        last_task = len(model.groups) - 1

        def batches(some: IntArray) -> Iterator[Batch]:
            return feed.batches(cut(some, EVALUATION_BATCH), last_task)

        indices = np.arange(len(self.clips.sources))
        clips = ClipsToLeaveOut(indices=indices, sources=self.clips.sources, batches=batches)
        (scored,) = scored_pieces(sums, clips, [self.piece])
        return scored


@dataclass(frozen=True)
class PieceScoring:
    """Scores pieces of learned clips.

    Attributes:
        sums: The sums of the model.
        learned: The clips of the stores.
        tasks: Their labels and sources.
        clips: Those that are left out, to which positions refer.
        engine: Where they are scored.
        progress: Receives the progress of clips.
    """

    sums: SumsOfViews
    learned: LearnedClips
    tasks: TaskClips
    clips: ClipsToLeaveOut
    engine: Engine
    progress: Progress

    def __call__(self, pieces: Sequence[Piece]) -> Iterable[ScoredPiece]:
        """Score pieces; see `cign.methods.left_out.Scoring`."""
        self.progress.start("predicting", sum(map(num_scored, pieces)))
        yield from self._on_cluster(pieces) if self.engine.is_remote else self._here(pieces)
        self.progress.stop()

    def _here(self, pieces: Sequence[Piece]) -> Iterator[ScoredPiece]:
        for scored in scored_pieces(self.sums, self.clips, pieces):
            self.progress.advance(len(scored.rows))
            yield scored

    def _on_cluster(self, pieces: Sequence[Piece]) -> Iterator[ScoredPiece]:
        located = self.learned.located
        assert located is not None
        parts = (self._remote(located, piece) for piece in pieces)
        for number, scored in run_checked(self.engine, located, parts, self.progress):
            named = pieces[number].clips
            yield replace(scored, rows=[named[row] for row in scored.rows])

    def _remote(self, located: Located, piece: Piece) -> RemotePiece:
        named = piece.clips
        indices = self.clips.indices[named]
        return RemotePiece(
            located=located.take(indices),
            clips=self.tasks.take(indices),
            piece=piece.among(named),
        )


def num_scored(piece: Piece) -> int:
    """Number of clips that a piece scores."""
    return sum(len(one.scored) for one in piece.sets)
