"""Scores of clips by the ridge regression that never saw them, in closed form.

A clip i contributes its rows X_i to G = sum_i X_i^T X_i and Q = sum_i X_i^T Y_i. With
A = (G + r I)^-1 and H = X A X^T for the rows X of any set of clips, a row z scores

    z A Q - (z A X^T) (I - H)^-1 (Y - X A Q)

by the regression on all other clips, which follows from the Woodbury identity (Hager, SIAM Review
1989). For a set of one row it is the classical leave-one-out residual of linear smoothers (Allen,
Technometrics 1974).

Legend: B clips, k fitted rows of a clip, N tokens of a clip, C classes, W width, m left-out clips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

CHUNK_BYTES = 2**27
"""Bytes of gathered rows processed at a time."""


@dataclass(frozen=True, kw_only=True)
class ClipRows:
    """The rows of some clips.

    Attributes:
        fitted: Rows that entered the sums, shape [B, k, W].
        weights: Factor of the label in each of those rows, shape [B, k].
        tokens: Features of the tokens to score, shape [B, N, W].
        targets: Labels, shape [B, C].
    """

    fitted: Tensor
    weights: Tensor
    tokens: Tensor
    targets: Tensor

    @property
    def labelled(self) -> Tensor:
        """Targets of the fitted rows, Y, shape [B, k, C]."""
        return self.weights.unsqueeze(-1) * self.targets.to(self.weights).unsqueeze(1)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Clips that are scored together by the regression without some clips.

    Attributes:
        scored: Positions of the clips to score.
        without: Positions of clips to leave out.
        shared: Positions of further clips to leave out, which many sets have in common; their
            sums are subtracted once for all of those sets.
    """

    scored: tuple[int, ...]
    without: tuple[int, ...]
    shared: tuple[int, ...] = ()

    @property
    def clips(self) -> tuple[int, ...]:
        """All clips to leave out; the scored ones are among them."""
        return (*self.without, *self.shared)


def sets_by_source(sources: Sequence[tuple[Hashable, ...]], large: float) -> list[LeftOut]:
    """For each clip, leave out all clips that share a source with it.

    Args:
        sources: Sources of each clip; a clip without a known source has one of its own.
        large: A source with more clips than this is subtracted as a whole (``LeftOut.shared``).

    Returns:
        One set per source if every clip has a single source, otherwise one per clip.
    """
    clips: dict[Hashable, list[int]] = defaultdict(list)
    for number, of_clip in enumerate(sources):
        for source in of_clip:
            clips[source].append(number)
    groups: list[tuple[tuple[Hashable, ...], tuple[int, ...]]]
    if all(len(of_clip) == 1 for of_clip in sources):
        groups = [((source,), tuple(same)) for source, same in clips.items()]
    else:
        groups = [(of_clip, (number,)) for number, of_clip in enumerate(sources)]
    sets = []
    for of_group, scored in groups:
        shared = {i for source in of_group if len(clips[source]) > large for i in clips[source]}
        left = {i for source in of_group for i in clips[source]} - shared
        sets.append(
            LeftOut(scored=scored, without=tuple(sorted(left)), shared=tuple(sorted(shared)))
        )
    return sets


def positions(sets: Sequence[LeftOut]) -> tuple[list[int], list[LeftOut]]:
    """The clips that the sets name, in order, and the sets with positions among those clips."""
    used = sorted({i for one in sets for i in (*one.scored, *one.clips)})
    place = {clip: row for row, clip in enumerate(used)}

    def moved(clips: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(place[i] for i in clips)

    return used, [
        LeftOut(scored=moved(one.scored), without=moved(one.without), shared=moved(one.shared))
        for one in sets
    ]


def scores_without(
    gram: Tensor,
    cross: Tensor,
    ridges: Sequence[float],
    rows: ClipRows,
    sets: Sequence[LeftOut],
) -> Iterator[tuple[float, Tensor]]:
    """Score clips by the regressions that never saw them.

    Args:
        gram: G of all clips, float64 [W, W]; only its lower triangle is used.
        cross: Q of all clips, [W, C].
        ridges: Ridge strengths r, above 0.
        rows: Rows of the clips in ``sets``, which are part of the sums.
        sets: What to score and what to leave out.

    Yields:
        Each ridge strength with the token scores, shape [B, N, C], in the precision of ``rows``;
        NaN for clips that are in no set, and where the system without a set is singular in this
        precision.
    """
    parts: dict[tuple[int, ...], list[LeftOut]] = defaultdict(list)
    for one in sets:
        parts[one.shared].append(one)
    found = {ridge: _empty(rows) for ridge in ridges}
    for shared, same in parts.items():
        gram_of, cross_of = gram, cross
        if shared:
            x = rows.fitted[list(shared)].flatten(0, 1).to(gram.dtype)
            y = rows.labelled[list(shared)].flatten(0, 1).to(gram.dtype)
            gram_of, cross_of = gram - x.T @ x, cross - x.T @ y
        used, moved = positions([replace(one, shared=()) for one in same])
        scored = [clip for one in same for clip in one.scored]
        at = [row for one in moved for row in one.scored]
        for ridge, scores in _scores(gram_of, cross_of, ridges, _select(rows, used), moved):
            found[ridge][scored] = scores[at]
    yield from found.items()


def _empty(rows: ClipRows) -> Tensor:
    shape = (*rows.tokens.shape[:2], rows.targets.shape[1])
    return rows.tokens.new_full(shape, torch.nan)


def _select(rows: ClipRows, clips: list[int]) -> ClipRows:
    if len(clips) == len(rows.fitted):
        return rows
    return ClipRows(
        fitted=rows.fitted[clips],
        weights=rows.weights[clips],
        tokens=rows.tokens[clips],
        targets=rows.targets[clips],
    )


def _scores(
    gram: Tensor, cross: Tensor, ridges: Sequence[float], rows: ClipRows, sets: Sequence[LeftOut]
) -> Iterator[tuple[float, Tensor]]:
    """`scores_without` for sets without ``shared`` clips."""
    labelled = rows.labelled
    alike: dict[tuple[int, int], list[LeftOut]] = defaultdict(list)
    for one in sets:
        alike[len(one.scored), len(one.without)].append(one)
    for ridge, fitted, tokens, scale, solution in _whitened(gram, cross, ridges, rows):
        scores = tokens @ solution
        residual = labelled - fitted @ solution
        for (num_scored, num_without), same in alike.items():
            if num_without == 0:
                continue
            bytes_each = (num_without * fitted.shape[1] + num_scored * tokens.shape[1]) * (
                fitted.shape[2] * fitted.element_size()
            )
            size = max(1, CHUNK_BYTES // bytes_each)
            for begin in range(0, len(same), size):
                chunk = same[begin : begin + size]
                at = torch.tensor([one.scored for one in chunk])
                without = torch.tensor([one.without for one in chunk])
                x = (fitted[without] * scale).flatten(1, 2)  # [g, m k, W]
                z = (tokens[at] * scale).flatten(1, 2)  # [g, s N, W]
                # Positive definite: its eigenvalues are those of r A or 1.
                system = torch.eye(x.shape[1], dtype=x.dtype, device=x.device) - x @ x.mT
                factor, failed = torch.linalg.cholesky_ex(system)
                error = torch.cholesky_solve(residual[without].flatten(1, 2), factor)
                error[failed != 0] = torch.nan
                scores[at] -= (z @ x.mT @ error).unflatten(1, (num_scored, -1))
        yield ridge, scores


def _whitened(
    gram: Tensor, cross: Tensor, ridges: Sequence[float], rows: ClipRows
) -> Iterator[tuple[float, Tensor, Tensor, Tensor, Tensor]]:
    """Rows in a basis in which A = (G + r I)^-1 is diagonal, for each ridge strength.

    One eigendecomposition serves all ridges, but it takes as long as about 27 Cholesky
    factorisations; for few rows and ridges these are faster.

    Yields:
        The ridge, the fitted rows, the tokens, the square root of A's diagonal [W], and the
        solution A Q [W, C].
    """
    width, dtype = len(gram), rows.fitted.dtype
    num_rows = rows.fitted.shape[:2].numel() + rows.tokens.shape[:2].numel()
    if len(ridges) * (width / 3 + num_rows) > 9 * width + num_rows:
        values, vectors = torch.linalg.eigh(gram)
        fitted, tokens = rows.fitted @ vectors.to(dtype), rows.tokens @ vectors.to(dtype)
        turned = vectors.T @ cross.to(vectors.dtype)
        for ridge in ridges:
            inverse = 1.0 / (values.clamp_min(0.0) + ridge)
            solution = (inverse.unsqueeze(1) * turned).to(dtype)
            yield ridge, fitted, tokens, inverse.sqrt().to(dtype), solution
        return
    for ridge in ridges:
        system = gram.clone()
        system.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(system)
        factor[failed != 0] = torch.nan
        turned = torch.linalg.solve_triangular(factor, cross.to(factor.dtype), upper=False)
        factor = factor.to(dtype)
        fitted, tokens = (
            torch.linalg.solve_triangular(factor, x.flatten(0, 1).T, upper=False).T.unflatten(
                0, x.shape[:2]
            )
            for x in (rows.fitted, rows.tokens)
        )
        yield ridge, fitted, tokens, fitted.new_ones(width), turned.to(dtype)
