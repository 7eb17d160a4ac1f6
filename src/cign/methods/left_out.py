"""Clips that are left out of a closed-form method, and their predictions without their sources.

`cign.methods.loo_estimate` computes them. Legend: n clips, C classes, W width of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from cign.data.tasks import IntArray
from cign.methods.base import Batch, Setup
from cign.methods.clip_records import ClipRecords
from cign.methods.closed_form_options import ClosedFormOptions
from cign.methods.modality_ridge import ModalityRidge
from cign.methods.output import ByModality
from cign.networks.leave_out import LeftOut


@runtime_checkable
class SumsOfViews(Protocol):
    """What other modules need of the sums of `cign.methods.closed_form.ClosedForm`."""

    setup: Setup
    options: ClosedFormOptions
    class_clips: Tensor
    records: ClipRecords

    @property
    def num_classes(self) -> int:
        """C."""

    @property
    def num_background(self) -> float:
        """Number of background clips."""

    def count_background(self, number: float) -> None:
        """Add a number of background clips, for which there must be sums if it is not 0."""

    def of(self, modality: str) -> ModalityRidge:
        """The ridge regression of a modality."""

    def gram(self, modality: str) -> Tensor:
        """The Gram matrix of the selected setting, shape [W, W]; only its lower triangle."""

    def cross(self, modality: str) -> Tensor:
        """The cross-correlation of the selected setting, shape [W, C]."""

    def tokens(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of a batch."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""


@dataclass(frozen=True, kw_only=True)
class ClipsToLeaveOut:
    """Clips that a method has learned, and whose sources are left out in turn.

    Attributes:
        indices: Indices of the clips, shape [n].
        sources: Sources of each of them.
        batches: Yields batches of the given clips in the given order, with their labels as learned.
    """

    indices: IntArray
    sources: Sequence[tuple[str, ...]]
    batches: Callable[[IntArray], Iterator[Batch]]

    @property
    def share_sources(self) -> bool:
        """Whether any two clips share a source."""
        named = [source for of_clip in self.sources for source in set(of_clip)]
        return len(set(named)) < len(named)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Clips that are scored together.

    Attributes:
        shared: Positions of clips that all sets leave out.
        sets: What to score and what to leave out, as positions of clips.
    """

    shared: tuple[int, ...]
    sets: tuple[LeftOut, ...]

    @property
    def clips(self) -> list[int]:
        """Positions of all clips that it names, ascending."""
        named = {i for one in self.sets for i in (*one.scored, *one.clips)}
        return sorted(named.union(self.shared))

    def among(self, clips: Sequence[int]) -> Piece:
        """The same with positions among some clips.

        Args:
            clips: Positions of clips, with all of `clips`.
        """
        place = {clip: row for row, clip in enumerate(clips)}

        def moved(some: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(place[i] for i in some)

        sets = (
            replace(one, scored=moved(one.scored), without=moved(one.without)) for one in self.sets
        )
        return Piece(shared=moved(self.shared), sets=tuple(sets))


@dataclass(frozen=True, kw_only=True)
class ScoredPiece:
    """Results of a piece.

    Attributes:
        rows: Position of each scored clip, b in all.
        scores: Scores by ``audio`` and ``visual``, shape [b, C].
        targets: The most likely labels, bool, shape [b, C].
        counts: Clips of each class without the clip's sources, shape [b, C].
        sums: Sum over these clips of pooled features and labels by modality, shape [W, C].
    """

    rows: Sequence[int]
    scores: ByModality
    targets: Tensor
    counts: Tensor
    sums: ByModality


Scoring = Callable[[Sequence[Piece]], Iterable[ScoredPiece]]
"""Scores pieces, in any order."""


@dataclass(frozen=True, kw_only=True)
class LeftOutPredictions:
    """Predictions of clips by the solutions without their sources, in the order of the clips.

    Attributes:
        probabilities: By modality, shape [n, C].
        targets: Labels, bool, shape [n, C].
        has_class_left: Whether each class of the clip has a clip without the clip's sources; where
            not, the class cannot be recognised. Shape [n].
        is_singular: Whether a system without the clip's sources is singular, which leaves no
            prediction (NaN). Shape [n].
        are_all: Whether the sums of features over these clips are those of the method: whether
            they are all that it learned.
    """

    probabilities: ByModality
    targets: Tensor
    has_class_left: Tensor
    is_singular: Tensor
    are_all: bool
