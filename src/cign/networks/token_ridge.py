"""Class tokens solved in closed form, and the assignment of a clip's tokens to them.

All of it is ours. It extends ridge regression on random features (`cign.networks.ridge`) from
pooled tokens to single tokens. Everything that is learned is a sum over clips.

Legend: B clips, N tokens, C classes, D width of a token, W width of the random features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from cign.layers.rounding import rounded, rounded_products
from cign.networks.ridge import RidgeStatistics

# Columns of the Gram matrix computed at a time; narrower blocks compute less of the upper triangle,
# but are slower for their size.
BLOCK = 500


def saliency(tokens: Tensor, power: float) -> Tensor:
    """How much each token differs from its clip: a fixed function of the clip.

    u_n = |x_n - mean x|^(2 power) / sum_n |x_n - mean x|^(2 power): with power 1, the share of a
    token in the variance of the clip. Most of an image is background; tokens that differ from it
    may be an object.

    Args:
        tokens: Tokens, shape [B, N, D].
        power: Exponent; 0 weights all tokens equally.

    Returns:
        Saliency, shape [B, N], which sums to one; 1 / N if all tokens are equal.
    """
    if power == 0:
        return tokens.new_full(tokens.shape[:2], 1.0 / tokens.shape[1])
    spread = (tokens - tokens.mean(dim=1, keepdim=True)).square_().sum(dim=2)
    largest = spread.amax(dim=1, keepdim=True)
    # Relative to the largest one, so that powers do not underflow or overflow.
    raised = torch.where(largest > 0, spread / largest, torch.ones_like(spread)).pow(power)
    return raised / raised.sum(dim=1, keepdim=True)


def contrast(tokens: Tensor, share: float) -> Tensor:
    """Subtract a share of the clip mean from tokens: x_n - share * mean x.

    The part that all tokens of a clip have in common is mostly background. The `saliency` does not
    change.

    Args:
        tokens: Tokens, shape [B, N, D].
        share: 0 leaves the tokens unchanged, 1 subtracts the whole mean.

    Returns:
        Tokens, shape [B, N, D].
    """
    return tokens - share * tokens.mean(dim=1, keepdim=True) if share else tokens


class TokenStatistics(RidgeStatistics):
    """Sums over clips and single tokens from which the class tokens are solved.

    The Gram matrix is symmetric, and only its lower triangle is valid. Do not use the values above
    it; `cign.networks.ridge.solve_ridge` uses only the lower triangle.

    A clip with features f_n, saliency u_n and label y adds, with F = sum_n u_n f_n,

        G += (1 - s) F F^T + s sum_n v_n f_n f_n^T        Q += ((1 - s) F + s sum_n v_n f_n) y^T

    so that the solution minimises, over all clips, (1 - s) |F X - y|^2 + s sum_n v_n |f_n X - y|^2
    + ridge |X|^2: s = 0 fits the mean score of a clip to its label, s = 1 the score of every token.
    v_n are the u_n of the most salient tokens, normalised again; the sum over single tokens takes
    most of the time, and the other tokens hardly contribute to it.
    With s = 0 the scores of single tokens are arbitrary as long as their mean fits; with s = 1 they
    are dominated by the background. With s in between, scores of single tokens are meaningful and
    clips are still separated.
    """

    def absorb_tokens(
        self,
        pieces: Iterable[tuple[Tensor, Tensor]],
        targets: Tensor,
        token_share: float,
        num_single: int | None = None,
        *,
        rounding: bool = False,
    ) -> None:
        """Add clips in place; products use the precision of features, sums that of the statistics.

        Args:
            pieces: f_n and u_n of some clips at a time, shapes [b, N, W] and [b, N]. Each piece is
                processed before the next is requested: the features of all clips need not be in
                memory at once, and those of a few clips stay in the processor cache.
            targets: Multi-hot labels of all clips, shape [B, C].
            token_share: s.
            num_single: Number of tokens that are added singly, the most salient first; all if
                None.
            rounding: Whether to round the float32 factors of the Gram matrix to bfloat16.
        """
        whole, single, labelled = [], [], []
        for features, shares in pieces:
            clip, tokens, mean = _clip_rows(features, shares, token_share, num_single)
            whole.append(rounded(clip) if rounding else clip)
            single.append(rounded(tokens) if rounding else tokens)
            labelled.append(mean)
        rows, means = torch.cat([*whole, *single]), torch.cat(labelled)
        with rounded_products(rounding):
            for begin in range(0, rows.shape[1], BLOCK):
                block = rows[:, begin : begin + BLOCK]
                product = rows[:, begin:].T @ block
                self.gram[begin:, begin : begin + BLOCK] += product
        self.cross += (means.T @ targets.to(means.dtype)).to(self.cross.dtype)


def _clip_rows(
    features: Tensor, shares: Tensor, token_share: float, num_single: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Contributions of clips to the sums: rows for the Gram matrix and for the cross-correlation.

    Args:
        features: f_n, shape [b, N, W].
        shares: u_n, shape [b, N].
        token_share: s.
        num_single: Number of tokens that are added singly; all if None.

    Returns:
        sqrt(1 - s) F, shape [b, W]; sqrt(s v_n) f_n of all single tokens, shape [n, W]; and
        (1 - s) F + s sum_n v_n f_n, shape [b, W].
    """
    pooled = (shares.unsqueeze(1) @ features).squeeze(1)
    whole = math.sqrt(1.0 - token_share) * pooled
    if token_share == 0:
        return whole, whole[:0], pooled
    if num_single is not None and num_single < shares.shape[1]:
        begins = shares.shape[1] * torch.arange(len(shares), device=shares.device).unsqueeze(-1)
        shares, chosen = _most_salient(shares, num_single)
        shares = shares / shares.sum(dim=1, keepdim=True)
        features = features.flatten(0, 1)[begins + chosen]  # indexing rows is faster than elements
    weighted = (features * (token_share * shares).sqrt().unsqueeze(-1)).flatten(0, 1)
    single = (shares.unsqueeze(1) @ features).squeeze(1)
    return whole, weighted, (1.0 - token_share) * pooled + token_share * single


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
