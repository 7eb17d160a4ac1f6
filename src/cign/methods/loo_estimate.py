"""Predictions of training clips by the solutions that never saw their sources.

They estimate the accuracy on new recordings without a test set. The settings are those selected;
scores, count balance, assignment and fusion are those of `ClosedForm.predict`, with the sums and
counts that remain without all clips of a clip's sources (`cign.networks.leave_out`).

Legend: n clips, N tokens, C classes, W width of the random features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cign.methods.closed_form_options import DTYPES
from cign.methods.closed_form_output import output_from_scores
from cign.methods.left_out import (
    ClipsToLeaveOut,
    LeftOutPredictions,
    Piece,
    ScoredPiece,
    Scoring,
    SumsOfViews,
)
from cign.methods.loo_pieces import scored_pieces
from cign.methods.loss_weights import PART_OF_CLIP
from cign.methods.output import ByModality, with_fusion
from cign.networks.leave_out import LeftOut, sets_by_source
from cign.vocabulary import MODALITIES, UNIMODAL

BATCH_BYTES = 2**29
"""Bytes of rows and features in memory at a time; each batch takes one factorisation."""
LARGE_SHARE = 1.5
"""A source whose rows exceed this share of W is subtracted from the sums as a whole."""

ROUNDING, EXACT = 2**-8, 1e-4
"""Relative differences of sums of features that other machines cause, with and without bfloat16."""


def predictions_left_out(
    method: SumsOfViews, clips: ClipsToLeaveOut, score: Scoring | None = None
) -> LeftOutPredictions:
    """Predict clips by the solutions without their sources.

    Args:
        method: A method that has learned the clips.
        clips: The clips.
        score: Scores the pieces into which the clips are cut; None does it here, in their order.
    """
    pieces = _pieces(method, clips)
    counts = method.class_clips.new_zeros(len(clips.indices), method.num_classes)
    found = _Found(
        scores={m: torch.zeros_like(counts, dtype=_dtype(method)) for m in UNIMODAL},
        targets=torch.zeros_like(counts, dtype=torch.bool),
        counts=counts,
        sums={m: torch.zeros_like(_whole_cross(method, m)) for m in UNIMODAL},
    )
    for one in scored_pieces(method, clips, pieces) if score is None else score(pieces):
        found.add(one)
    return found.finished(method)


def _pieces(method: SumsOfViews, clips: ClipsToLeaveOut) -> list[Piece]:
    """Cut clips into pieces whose rows and features fit into memory together."""
    num_rows = 1 + method.options.num_single
    large = LARGE_SHARE * method.options.width / num_rows
    by_shared: dict[tuple[int, ...], list[LeftOut]] = defaultdict(list)
    # Sets with a common source one after another, because they are read together.
    for one in sorted(
        sets_by_source(clips.sources, large), key=lambda one: clips.sources[one.scored[0]]
    ):
        by_shared[one.shared].append(replace(one, shared=()))
    size = max(1, BATCH_BYTES // _bytes_per_clip(method))
    return [
        Piece(shared=shared, sets=tuple(part))
        for shared, sets in by_shared.items()
        for part in _in_batches(sets, size)
    ]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Results that are filled in batch by batch.

    Attributes:
        scores: Scores of clips for ``audio`` and ``visual``, [n, C].
        targets: The most likely labels, [n, C].
        counts: Clips of each class without the clip's sources, [n, C].
        sums: Sum over clips of pooled features and labels, [W, C].
    """

    scores: ByModality
    targets: Tensor
    counts: Tensor
    sums: ByModality

    def add(self, one: ScoredPiece) -> None:
        """Fill in the results of a piece."""
        rows = torch.tensor(one.rows).to(self.targets.device)
        self.targets[rows] = one.targets.to(self.targets.device)
        self.counts[rows] = one.counts.to(self.counts)
        for modality in UNIMODAL:
            self.scores[modality][rows] = one.scores[modality].to(self.scores[modality])
            self.sums[modality].add_(one.sums[modality].to(self.sums[modality]))

    def finished(self, method: SumsOfViews) -> LeftOutPredictions:
        """The predictions from all scores."""
        multi_label = method.setup.multi_label
        settings = {m: method.of(m).setting for m in UNIMODAL}
        own = output_from_scores(self.scores, settings, multi_label=multi_label)
        found = with_fusion(own, method.options.fusion, multi_label=multi_label).probabilities
        return LeftOutPredictions(
            probabilities=found,
            targets=self.targets,
            has_class_left=((self.counts > PART_OF_CLIP) | self.targets.logical_not()).all(dim=1),
            is_singular=torch.stack([found[m].isnan().any(dim=1) for m in MODALITIES]).any(dim=0),
            are_all=all(
                _difference(self.sums[m], _whole_cross(method, m), method.class_clips)
                < (ROUNDING if method.of(m).rounding else EXACT)
                for m in UNIMODAL
            ),
        )


def _dtype(method: SumsOfViews) -> torch.dtype:
    """Precision of the scores."""
    return DTYPES.get(method.options.precision, torch.float32)


def _whole_cross(method: SumsOfViews, modality: str) -> Tensor:
    one = method.of(modality)
    return one.statistics_of(one.setting.view).whole_cross


def _difference(found: Tensor, wanted: Tensor, counts: Tensor) -> float:
    """Largest relative difference of two matrices' columns, each times the root of its clips.

    The rounding errors of n clips do not add up, but decrease with the root of n.
    """
    scale = wanted.norm(dim=0).clamp_min(torch.finfo(wanted.dtype).tiny)
    return float(((found - wanted).norm(dim=0) / scale * counts.sqrt()).max())


def _bytes_per_clip(method: SumsOfViews) -> int:
    """Bytes of a clip's rows and features, those of the larger modality, with working copies."""
    shape = method.setup.shape
    tokens = max(shape.num_audio_tokens, shape.num_visual_tokens)
    return (
        2
        * _dtype(method).itemsize
        * method.options.width
        * (2 * tokens + 1 + method.options.num_single)
    )


def _in_batches(sets: Sequence[LeftOut], size: int) -> Iterator[list[LeftOut]]:
    """Cut sets into batches that name about ``size`` clips each, at least one set."""
    batch: list[LeftOut] = []
    named: set[int] = set()
    for one in sets:
        more = named | {*one.scored, *one.without}
        if batch and len(more) > size:
            yield batch
            batch, more = [], {*one.scored, *one.without}
        batch.append(one)
        named = more
    yield batch
