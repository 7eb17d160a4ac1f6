"""Scores of learned clips by the solutions without their sources, piece by piece.

Legend: n clips, N tokens, C classes, W width of the random features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cign.layers.rounding import rounded_products
from cign.methods.base import Batch
from cign.methods.leave_one_out import weights_of
from cign.methods.left_out import ClipsToLeaveOut, Piece, ScoredPiece, SumsOfViews
from cign.methods.modality_ridge import ModalityRidge
from cign.methods.output import ByModality
from cign.methods.selection import balance, pooled_scores
from cign.networks.leave_out import ClipRows, LeftOut, positions, scores_without
from cign.networks.token_ridge import TokenStatistics
from cign.vocabulary import UNIMODAL


@torch.no_grad()
def scored_pieces(
    method: SumsOfViews, clips: ClipsToLeaveOut, pieces: Sequence[Piece]
) -> Iterator[ScoredPiece]:
    """Score pieces one after another.

    Args:
        method: A method that has learned the clips.
        clips: The clips, to which the positions of the pieces refer.
        pieces: The pieces; those with the same shared clips are best given one after another.
    """
    method.eval()
    shared: tuple[int, ...] | None = None
    for piece in pieces:
        if shared != piece.shared:
            shared, sums = piece.shared, _sums_without(method, clips, piece.shared)
        yield _scored(method, clips, sums, piece.sets)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Gram matrices and cross-correlations of both modalities, and the clips of each class."""

    gram: ByModality
    cross: ByModality
    counts: Tensor


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


def _scored(
    method: SumsOfViews, clips: ClipsToLeaveOut, sums: _Sums, sets: Sequence[LeftOut]
) -> ScoredPiece:
    """Score the clips of some sets."""
    used, moved = positions(sets)
    batches = list(clips.batches(clips.indices[used]))
    targets = torch.cat([likely_labels(batch) for batch in batches])
    counted = torch.cat([batch.counted for batch in batches])
    counts = sums.counts.expand(len(used), -1).clone()
    for left_out in moved:
        counts[list(left_out.scored)] -= counted[list(left_out.without)].sum(dim=0).to(counts)
    at = torch.tensor([i for left_out in moved for i in left_out.scored]).to(targets.device)
    tokens = [method.tokens(batch.audio, batch.visual) for batch in batches]
    scores_of, sums_of = dict[str, Tensor](), dict[str, Tensor]()
    for modality, parts in zip(UNIMODAL, zip(*tokens, strict=True), strict=True):
        one = method.of(modality)
        setting = one.setting
        clip_rows, shares, pooled = _rows(one, parts, batches)
        ((_, scores),) = scores_without(
            sums.gram[modality], sums.cross[modality], [setting.ridge], clip_rows, moved
        )
        # As in `ClosedForm.read_tokens`, the balance comes before the assignment.
        balanced = scores[at] * balance(counts[at], setting.count_power).unsqueeze(1).to(scores)
        scores_of[modality] = pooled_scores(balanced, shares[at], setting.assignment_temperature)
        with rounded_products(one.rounding):  # as in `TokenStatistics.absorb`
            product = pooled[at].T @ counted[at].to(pooled)
        sums_of[modality] = product.to(torch.float64)
    return ScoredPiece(
        rows=[used[i] for i in at.tolist()],
        scores=scores_of,
        targets=targets[at],
        counts=counts[at],
        sums=sums_of,
    )


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
