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

CHUNK_BYTES = 2**22
"""Bytes of gathered rows processed at a time: they are read for each ridge from a cache."""


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
    for system in _systems(gram, cross, ridges, rows):
        found = [_empty(rows) for _ in system.ridges]
        solutions = torch.cat(list(system.solutions), dim=1)
        for (num_scored, num_without), same in alike.items():
            num_rows = num_without * rows.fitted.shape[1] + num_scored * rows.tokens.shape[1]
            size = CHUNK_BYTES // (num_rows * rows.fitted.shape[2] * rows.fitted.element_size())
            size = max(1, size)
            for begin in range(0, len(same), size):
                chunk = same[begin : begin + size]
                at = torch.tensor([one.scored for one in chunk])
                without = torch.tensor([one.without for one in chunk], dtype=torch.int64)
                tokens = system.tokens[at].flatten(1, 2)  # [g, s N, W]
                fitted = system.fitted[without].flatten(1, 2)  # [g, m k, W]
                targets = labelled[without].flatten(1, 2)  # [g, m k, C]
                with_all, of_fitted = (
                    (x.flatten(0, 1) @ solutions)
                    .unflatten(0, x.shape[:2])
                    .chunk(len(system.ridges), dim=-1)
                    for x in (tokens, fitted)
                )
                for ridge, scores in enumerate(found):
                    left = with_all[ridge]
                    if num_without:  # otherwise all were subtracted from the sums before
                        solved = system.solved(ridge, fitted, without)
                        error = _corrected(fitted, solved, targets - of_fitted[ridge])
                        left = left - (tokens @ solved.mT) @ error
                    scores[at] = left.unflatten(1, (num_scored, -1))
        yield from zip(system.ridges, found, strict=True)


def _corrected(x: Tensor, solved: Tensor, residual: Tensor) -> Tensor:
    """(I - H)^-1 (Y - X A Q) of sets of rows X, given X A and the residual Y - X A Q."""
    # Positive definite: its eigenvalues are those of r A or 1.
    system = torch.eye(x.shape[1], dtype=x.dtype, device=x.device) - x @ solved.mT
    factor, failed = torch.linalg.cholesky_ex(system)
    error = torch.cholesky_solve(residual, factor)
    error[failed != 0] = torch.nan
    return error


@dataclass(frozen=True, kw_only=True)
class _System:
    """Rows and the solutions with A = (G + r I)^-1 for one or more ridges, in some basis.

    Attributes:
        ridges: Ridge strengths r.
        fitted: Fitted rows in this basis, shape [B, k, W].
        tokens: Tokens in this basis, shape [B, N, W].
        solutions: A Q for each ridge in this basis, shape [W, C].
        inverses: The diagonal of A for each ridge if the basis is that of G's eigenvectors, [W].
        rows: X A for each ridge otherwise, shape [B, k, W].
    """

    ridges: Sequence[float]
    fitted: Tensor
    tokens: Tensor
    solutions: Sequence[Tensor]
    inverses: Sequence[Tensor] = ()
    rows: Sequence[Tensor] = ()

    def solved(self, ridge: int, fitted: Tensor, clips: Tensor) -> Tensor:
        """X A of sets of clips [g, m], of which ``fitted`` are the rows, [g, m k, W]."""
        if self.inverses:
            return fitted * self.inverses[ridge]
        return self.rows[ridge][clips].flatten(1, 2)


def _systems(
    gram: Tensor, cross: Tensor, ridges: Sequence[float], rows: ClipRows
) -> Iterator[_System]:
    """One system for all ridges in the basis of G's eigenvectors, or one for each ridge.

    The eigendecomposition serves all ridges, but all rows have to be turned into its basis, and it
    takes as long as 16 Cholesky factorisations, or as products of 9 W rows with a matrix [W, W].
    """
    width, dtype = len(gram), rows.fitted.dtype
    num_fitted, num_tokens = (x.shape[:2].numel() for x in (rows.fitted, rows.tokens))
    if len(ridges) * (9 / 16 * width + 2 * num_fitted) > 9 * width + num_fitted + num_tokens:
        values, vectors = torch.linalg.eigh(gram)
        turned = vectors.T @ cross.to(vectors.dtype)
        inverses = [1.0 / (values.clamp_min(0.0) + ridge) for ridge in ridges]
        vectors = vectors.to(dtype)
        yield _System(
            ridges=ridges,
            fitted=rows.fitted @ vectors,
            tokens=rows.tokens @ vectors,
            solutions=[(inverse.unsqueeze(1) * turned).to(dtype) for inverse in inverses],
            inverses=[inverse.to(dtype) for inverse in inverses],
        )
        return
    for ridge in ridges:
        system = gram.clone()
        system.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(system)
        factor[failed != 0] = torch.nan
        solution = torch.cholesky_solve(cross.to(factor.dtype), factor)
        solved = torch.cholesky_solve(rows.fitted.flatten(0, 1).T, factor.to(dtype))
        yield _System(
            ridges=[ridge],
            fitted=rows.fitted,
            tokens=rows.tokens,
            solutions=[solution.to(dtype)],
            rows=[solved.T.contiguous().unflatten(0, rows.fitted.shape[:2])],
        )
