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

from cign.layers.rounding import rounded_products
from cign.methods.base import Batch
from cign.methods.closed_form_options import DTYPES
from cign.methods.closed_form_output import output_from_scores
from cign.methods.leave_one_out import weights_of
from cign.methods.left_out import ClipsToLeaveOut, LeftOutPredictions, SumsOfViews
from cign.methods.loss_weights import PART_OF_CLIP
from cign.methods.modality_ridge import ModalityRidge
from cign.methods.output import ByModality, with_fusion
from cign.methods.selection import balance, pooled_scores
from cign.networks.leave_out import ClipRows, LeftOut, positions, scores_without, sets_by_source
from cign.networks.token_ridge import TokenStatistics
from cign.vocabulary import MODALITIES, UNIMODAL

BATCH_BYTES = 2**29
"""Bytes of rows and features in memory at a time; each batch takes one factorisation."""
LARGE_SHARE = 1.5
"""A source whose rows exceed this share of W is subtracted from the sums as a whole."""

ROUNDING, EXACT = 2**-8, 1e-4
"""Relative differences of sums of features that other machines cause, with and without bfloat16."""


@torch.no_grad()
def predictions_left_out(method: SumsOfViews, clips: ClipsToLeaveOut) -> LeftOutPredictions:
    """Predict clips by the solutions without their sources.

    Args:
        method: A method that has learned the clips.
        clips: The clips.
    """
    method.eval()
    num_rows = 1 + method.options.num_single
    large = LARGE_SHARE * method.options.width / num_rows
    by_shared: dict[tuple[int, ...], list[LeftOut]] = defaultdict(list)
    # Sets with a common source one after another, because they are read together.
    for one in sorted(
        sets_by_source(clips.sources, large), key=lambda one: clips.sources[one.scored[0]]
    ):
        by_shared[one.shared].append(replace(one, shared=()))
    size = max(1, BATCH_BYTES // _bytes_per_clip(method))
    counts = method.class_clips.new_zeros(len(clips.indices), method.num_classes)
    found = _Found(
        scores={m: torch.zeros_like(counts, dtype=_dtype(method)) for m in UNIMODAL},
        targets=torch.zeros_like(counts, dtype=torch.bool),
        counts=counts,
        sums={m: torch.zeros_like(_whole_cross(method, m)) for m in UNIMODAL},
    )
    for shared, sets in by_shared.items():
        sums = _sums_without(method, clips, shared)
        for part in _in_batches(sets, size):
            _score(method, clips, sums, part, found)
    return found.finished(method)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Gram matrices and cross-correlations of both modalities, and the clips of each class."""

    gram: ByModality
    cross: ByModality
    counts: Tensor


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


def _sums_without(method: SumsOfViews, clips: ClipsToLeaveOut, shared: tuple[int, ...]) -> _Sums:
    """The method's sums without some clips, which are read one batch at a time."""
    gram = {m: method.of(m).fitted_gram for m in UNIMODAL}
    cross = {m: method.cross(m) for m in UNIMODAL}
    counts = method.class_clips
    if not shared:
        return _Sums(gram=gram, cross=cross, counts=counts)
    gone: dict[str, TokenStatistics] = {}
    for modality in UNIMODAL:
        one = method.of(modality)
        num_single = one.statistics_of(one.setting.view).num_single
        gone[modality] = TokenStatistics(method.options.width, num_single).to(counts.device)
        gone[modality].grow(method.num_classes)
    for batch in clips.batches(clips.indices[list(shared)]):
        both = method.tokens(batch.audio, batch.visual)
        for modality, tokens in zip(UNIMODAL, both, strict=True):
            one = method.of(modality)
            pieces = one.pieces(one.setting.view, tokens)
            # Background is subtracted from G + G_b, where it has no labels, like any other clip.
            gone[modality].absorb(
                pieces, batch.label_shares, weights=batch.weights, rounding=one.rounding
            )
        counts = counts - batch.counted.sum(dim=0)
    for modality in UNIMODAL:
        share = method.of(modality).setting.token_share
        gram[modality] = gram[modality] - gone[modality].gram(share)
        cross[modality] = cross[modality] - gone[modality].cross(share)
    return _Sums(gram=gram, cross=cross, counts=counts)


def _score(
    method: SumsOfViews,
    clips: ClipsToLeaveOut,
    sums: _Sums,
    sets: Sequence[LeftOut],
    found: _Found,
) -> None:
    """Score the clips of some sets, and fill in their results."""
    used, moved = positions(sets)
    batches = list(clips.batches(clips.indices[used]))
    targets = torch.cat([likely_labels(batch) for batch in batches])
    counted = torch.cat([batch.counted for batch in batches])
    counts = sums.counts.expand(len(used), -1).clone()
    for left_out in moved:
        counts[list(left_out.scored)] -= counted[list(left_out.without)].sum(dim=0).to(counts)
    at = torch.tensor([i for left_out in moved for i in left_out.scored]).to(targets.device)
    rows = torch.tensor(used).to(targets.device)[at]
    found.targets[rows], found.counts[rows] = targets[at], counts[at]
    tokens = [method.tokens(batch.audio, batch.visual) for batch in batches]
    for modality, parts in zip(UNIMODAL, zip(*tokens, strict=True), strict=True):
        one = method.of(modality)
        setting = one.setting
        clip_rows, shares, pooled = _rows(one, parts, batches)
        ((_, scores),) = scores_without(
            sums.gram[modality], sums.cross[modality], [setting.ridge], clip_rows, moved
        )
        # As in `ClosedForm.read_tokens`, the balance comes before the assignment.
        balanced = scores[at] * balance(counts[at], setting.count_power).unsqueeze(1).to(scores)
        pooled_of_clips = pooled_scores(balanced, shares[at], setting.assignment_temperature)
        found.scores[modality][rows] = pooled_of_clips
        with rounded_products(one.rounding):  # as in `TokenStatistics.absorb`
            product = pooled[at].T @ counted[at].to(pooled)
        found.sums[modality].add_(product.to(torch.float64))


def likely_labels(batch: Batch) -> Tensor:
    """Labels to compare predictions with, bool, shape [B, C]; see `cign.data.clips.Clip`."""
    if batch.shares is None:
        return batch.targets
    first = batch.shares.argmax(dim=1, keepdim=True)
    is_first = torch.zeros_like(batch.targets).scatter(1, first, value=True)
    return (is_first | (batch.shares == 1.0)) & batch.targets


def _rows(
    one: ModalityRidge, parts: Sequence[Tensor], batches: Sequence[Batch]
) -> tuple[ClipRows, Tensor, Tensor]:
    """The rows of clips in the sums and their features in prediction, at the selected setting.

    Args:
        one: The modality.
        parts: Tokens, batch by batch, shape [b, N, D] each.
        batches: The batches.

    Returns:
        The rows, u_n [n, N], and the pooled features [n, W] of the cross-correlation.
    """
    setting = one.setting
    view, sums, random = setting.view, one.statistics_of(setting.view), one.projection(setting.view)
    fitted, weights, features, shares, pooled = [], [], [], [], []
    of_clips, begin = weights_of(batches), 0
    for part in parts:
        for some, u in one.pieces(view, part):
            rows, roots = sums.fitted_rows(
                some,
                u,
                setting.token_share,
                weights=None if of_clips is None else of_clips[begin : begin + len(some)],
                rounding=one.rounding,
            )
            begin += len(some)
            fitted.append(rows)
            weights.append(roots)
            shares.append(u)
            pooled.append((u.unsqueeze(1) @ some).squeeze(1))
            if not one.rounding:
                features.append(some)
        if one.rounding:  # predictions do not round
            features.append(random(view.vectors(part.float())))
    rows_of_clips = ClipRows(
        fitted=torch.cat(fitted),
        weights=torch.cat(weights),
        tokens=torch.cat(features),
        targets=torch.cat([batch.label_shares for batch in batches]),
    )
    return rows_of_clips, torch.cat(shares), torch.cat(pooled)
