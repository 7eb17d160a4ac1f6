"""Class tokens solved in closed form, and the assignment of a clip's tokens to them.

All of it is ours. It extends ridge regression on random features (`cign.networks.ridge`) from
pooled tokens to single tokens. Everything that is learned is a sum over clips.

Legend: B clips, N tokens, C classes, D width of a token, W width of the random features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from cign.layers.rounding import rounded, rounded_products

TRIANGULAR = ("whole_gram", "single_gram", "whole_background", "single_background")
"""Buffers of `TokenStatistics` of which only the lower triangle is valid."""
# Columns of the Gram matrix computed at a time; narrower blocks compute less of the upper triangle,
# but are slower for their size.
BLOCK = 500


class TokenStatistics(nn.Module):
    """Sums over clips and single tokens from which the class tokens are solved.

    The Gram matrices are symmetric, and only their lower triangles are valid;
    `cign.networks.ridge.solve_ridge` uses no other values.

    A clip with features f_n, saliency u_n and label y adds, with F = sum_n u_n f_n,

        whole:   G_w += F F^T                    Q_w += F y^T
        single:  G_s += sum_n v_n f_n f_n^T      Q_s += sum_n v_n f_n y^T

    A clip of weight w adds w times these terms: w = k stands for k copies. The entries of y are the
    shares of the labels. Background, clips with y = 0, is summed in matrices of its own, G_b, which
    exist only if there are such clips: the solution uses G + G_b (`fitted_gram`), and G remains the
    sum over clips of the classes.

    For any s in [0, 1], G = (1 - s) G_w + s G_s and Q = (1 - s) Q_w + s Q_s give the solution that
    minimises, over all clips, (1 - s) |F X - y|^2 + s sum_n v_n |f_n X - y|^2 + ridge |X|^2: s = 0
    fits the mean score of a clip to its label, s = 1 the score of every token. v_n are the u_n of
    the most salient tokens, normalised again; the sum over single tokens takes most of the time,
    and the other tokens hardly contribute to it.
    With s = 0 the scores of single tokens are arbitrary as long as their mean fits; with s = 1 they
    are dominated by the background. With s in between, scores of single tokens are meaningful and
    clips are still separated.

    Args:
        width: W.
        num_single: Number of tokens per clip that are added singly, the most salient first; 0
            leaves the sums over single tokens out.
    """

    whole_gram: Tensor
    whole_cross: Tensor
    single_gram: Tensor
    single_cross: Tensor

    def __init__(self, width: int, num_single: int) -> None:
        super().__init__()
        self.num_single = num_single
        for kind in self.kinds:
            self.register_buffer(f"{kind}_gram", torch.zeros(width, width, dtype=torch.float64))
            self.register_buffer(f"{kind}_cross", torch.zeros(width, 0, dtype=torch.float64))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of rows that are summed."""
        return ("whole", "single") if self.num_single else ("whole",)

    @property
    def num_bytes(self) -> int:
        """Bytes of the sums."""
        return sum(sums.numel() * sums.element_size() for sums in self.buffers())

    def grow(self, num_new: int) -> None:
        """Add a column of zeros for each new class: no earlier clip had it as a label."""
        for kind in self.kinds:
            cross = getattr(self, f"{kind}_cross")
            setattr(self, f"{kind}_cross", with_columns(cross, num_new))

    def remove(self, index: int) -> None:
        """Remove the column of a class; its clips stay in the Gram matrices."""
        for kind in self.kinds:
            cross = getattr(self, f"{kind}_cross")
            setattr(self, f"{kind}_cross", without_entry(cross, index))

    def add(self, other: TokenStatistics, columns: Tensor) -> None:
        """Add the sums over other clips.

        Args:
            other: Sums of the same width and kinds, over the same features.
            columns: Column here of each class of ``other``, int64, shape [C'].
        """
        if other.has_background:
            self.make_background()
        for kind in self.kinds:
            gram, cross = getattr(self, f"{kind}_gram"), getattr(self, f"{kind}_cross")
            more = getattr(other, f"{kind}_cross").to(cross)
            if other.has_background:
                ours, name = getattr(self, f"{kind}_background"), f"{kind}_background"
                setattr(self, name, ours + getattr(other, name).to(ours))
            setattr(self, f"{kind}_gram", gram + getattr(other, f"{kind}_gram").to(gram))
            setattr(self, f"{kind}_cross", cross.index_add(1, columns, more))

    @property
    def has_background(self) -> bool:
        """Whether there are sums over background clips."""
        return hasattr(self, "whole_background")

    def make_background(self) -> None:
        """Add sums of zeros for background clips, unless there are some."""
        if self.has_background:
            return
        for kind in self.kinds:
            zeros = torch.zeros_like(getattr(self, f"{kind}_gram"))
            self.register_buffer(f"{kind}_background", zeros)

    def gram(self, token_share: float) -> Tensor:
        """G for s = ``token_share``, [W, W]; use its lower triangle only."""
        return self._mixed("gram", token_share)

    def fitted_gram(self, token_share: float) -> Tensor:
        """G + G_b for s = ``token_share``, [W, W]; use its lower triangle only."""
        gram = self.gram(token_share)
        return gram + self._mixed("background", token_share) if self.has_background else gram

    def cross(self, token_share: float) -> Tensor:
        """Q for s = ``token_share``, [W, C]."""
        return self._mixed("cross", token_share)

    def _mixed(self, what: str, token_share: float) -> Tensor:
        whole: Tensor = getattr(self, f"whole_{what}")
        if token_share == 0:
            return whole
        single: Tensor = getattr(self, f"single_{what}")
        return (1.0 - token_share) * whole + token_share * single

    def absorb(
        self,
        pieces: Iterable[tuple[Tensor, Tensor]],
        targets: Tensor | None,
        *,
        weights: Tensor | None = None,
        rounding: bool = False,
    ) -> None:
        """Add clips in place; products use the precision of features, sums are in float64.

        Args:
            pieces: f_n and u_n of some clips at a time, shapes [b, N, W] and [b, N]. Each piece is
                processed before the next is requested: the features of all clips need not be in
                memory at once, and those of a few clips stay in the processor cache.
            targets: Labels of all clips or their shares, shape [B, C]; None for background.
            weights: w of all clips, shape [B]; None if all are 1.
            rounding: Whether to round the float32 factors of the Gram matrices to bfloat16.
        """
        what = "gram" if targets is not None else "background"
        rows: dict[str, list[Tensor]] = {kind: [] for kind in self.kinds}
        means: dict[str, list[Tensor]] = {kind: [] for kind in self.kinds}
        begin = 0
        for features, shares in pieces:
            of_piece = None if weights is None else weights[begin : begin + len(features)]
            begin += len(features)
            for kind in self.kinds:
                one, roots = self.rows(kind, features, shares, of_piece)
                means[kind].append((roots.unsqueeze(1) @ one).squeeze(1))
                flat = one.flatten(0, 1)
                rows[kind].append(rounded(flat) if rounding else flat)
        with rounded_products(rounding):
            for kind in self.kinds:
                add_gram_(getattr(self, f"{kind}_{what}"), torch.cat(rows[kind]))
                if targets is None:
                    continue
                mean = torch.cat(means[kind])
                product = mean.T @ targets.to(mean.dtype)
                getattr(self, f"{kind}_cross").add_(product.to(torch.float64))

    def rows(
        self, kind: str, features: Tensor, shares: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The rows that clips add to a Gram matrix.

        Args:
            kind: ``whole`` or ``single``.
            features: f_n, shape [b, N, W].
            shares: u_n, shape [b, N].
            weights: w, shape [b]; None if all are 1.

        Returns:
            The rows, each with the square root of its weight: sqrt(w) F [b, 1, W] or
            sqrt(w v_n) f_n [b, n, W]; and these roots, [b, 1] or [b, n].
        """
        rows, roots = self._rows(kind, features, shares)
        if weights is None:
            return rows, roots
        factors = weights.to(rows).sqrt().unsqueeze(-1)
        return rows * factors.unsqueeze(-1), roots * factors

    def _rows(self, kind: str, features: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """`rows` of clips of weight 1."""
        if kind == "whole":
            return shares.unsqueeze(1) @ features, torch.ones_like(shares[:, :1])
        if self.num_single < shares.shape[1]:
            begins = shares.shape[1] * torch.arange(len(shares), device=shares.device).unsqueeze(-1)
            shares, chosen = _most_salient(shares, self.num_single)
            shares = shares / shares.sum(dim=1, keepdim=True)
            features = features.flatten(0, 1)[begins + chosen]  # faster than indexing elements
        roots = shares.sqrt()
        return features * roots.unsqueeze(-1), roots

    def fitted_rows(
        self,
        features: Tensor,
        shares: Tensor,
        token_share: float,
        *,
        weights: Tensor | None = None,
        rounding: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """All rows of clips in the sums for s = ``token_share``, and the factors of their labels.

        Args:
            features: f_n, shape [b, N, W].
            shares: u_n, shape [b, N].
            token_share: s.
            weights: w, shape [b]; None if all are 1.
            rounding: As for `absorb`.

        Returns:
            Shapes [b, k, W] and [b, k]; see `cign.networks.leave_out.ClipRows`.
        """
        parts = [(math.sqrt(1.0 - token_share), "whole")]
        if token_share > 0:
            parts.append((math.sqrt(token_share), "single"))
        found = [(root, *self.rows(kind, features, shares, weights)) for root, kind in parts]
        return (
            torch.cat(
                [root * (rounded(rows) if rounding else rows).to(rows) for root, rows, _ in found],
                dim=1,
            ),
            torch.cat([root * roots for root, _, roots in found], dim=1),
        )


def add_gram_(gram: Tensor, rows: Tensor) -> None:
    """Add X^T X of rows X [n, W] to the lower triangle of a Gram matrix, in place."""
    for begin in range(0, rows.shape[1], BLOCK):
        block = rows[:, begin : begin + BLOCK]
        gram[begin:, begin : begin + BLOCK] += rows[:, begin:].T @ block


def with_columns(values: Tensor, number: int) -> Tensor:
    """A copy of [..., C] with columns of zeros added.

    On the meta device, where saved models are built, ``torch.cat`` would import torch's compiler.
    """
    grown = values.new_zeros(*values.shape[:-1], values.shape[-1] + number)
    grown[..., : values.shape[-1]] = values
    return grown


def without_entry(values: Tensor, index: int) -> Tensor:
    """A copy of [..., C] without one entry of the last dimension."""
    return torch.cat([values[..., :index], values[..., index + 1 :]], dim=-1)


def _most_salient(shares: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The most salient tokens of each clip; ties are spread over the clip.

    If all tokens have the same saliency, the first ones would all be from the beginning of the
    audio. So ties are sorted by the fractional part of n times the golden ratio, which spreads any
    number of them evenly.

    Args:
        shares: u_n, shape [b, N].
        number: Number of tokens per clip, at most N.

    Returns:
        Their saliency and their positions, each of shape [b, number].
    """
    positions = torch.arange(shares.shape[1], dtype=torch.float64, device=shares.device)
    spread = (positions * ((math.sqrt(5.0) - 1.0) / 2.0)).frac().argsort()
    ordered, indices = shares[:, spread].sort(dim=1, descending=True, stable=True)
    return ordered[:, :number], spread[indices[:, :number]]


def assign_tokens(scores: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """The weight of each token in the score of each class.

    A[n,i] = u_n exp(s_ni / tau) / sum_n u_n exp(s_ni / tau). In `cign` the soft-max is over
    classes; here it is over tokens, which localises each class and lets a token contribute to
    several.

    Args:
        scores: s_ni, the score of each token for each class, shape [B, N, C].
        shares: u_n, shape [B, N].
        temperature: tau; infinity gives A = u.

    Returns:
        The assignment, shape [B, N, C], which sums to one over tokens.
    """
    prior = shares.clamp_min(torch.finfo(shares.dtype).tiny).log().unsqueeze(-1)
    return (scores / temperature + prior).softmax(dim=1)
