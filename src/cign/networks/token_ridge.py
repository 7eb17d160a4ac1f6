"""Class tokens solved in closed form, and the assignment of a clip's tokens to them.

All of it is ours: ridge regression on random features (`cign.networks.ridge`) taken from pooled
tokens to single ones. Everything that is learned is a sum over clips.

Legend: B clips, N tokens, C classes, D width of a token, W width of the random features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from cign.layers.rounding import rounded, rounded_products
from cign.networks.ridge import RidgeStatistics

# Columns of the Gram matrix that are multiplied at a time; narrower blocks waste less of the upper
# triangle, and are slower for their size.
BLOCK = 500


def saliency(tokens: Tensor, power: float) -> Tensor:
    """How much each token stands out of its clip: a fixed function of the clip alone.

    u_n = |x_n - mean x|^(2 power) / sum_n of the same: with power 1 a token's share of the clip's
    variance. What a picture mostly shows is background; what stands out of it may be an object.

    Args:
        tokens: Shape [B, N, D].
        power: 0 counts every token alike.

    Returns:
        Shape [B, N], sums to one; 1 / N where all tokens are equal.
    """
    if power == 0:
        return tokens.new_full(tokens.shape[:2], 1.0 / tokens.shape[1])
    spread = (tokens - tokens.mean(dim=1, keepdim=True)).square_().sum(dim=2)
    largest = spread.amax(dim=1, keepdim=True)
    # Against the largest one, so that no power under- or overflows.
    raised = torch.where(largest > 0, spread / largest, torch.ones_like(spread)).pow(power)
    return raised / raised.sum(dim=1, keepdim=True)


def contrast(tokens: Tensor, share: float) -> Tensor:
    """Tokens less a share of their clip's mean: x_n - share * mean x.

    What all tokens of a clip have in common is mostly background. `saliency` is the same before
    and after.

    Args:
        tokens: Shape [B, N, D].
        share: 0 leaves them as they are, 1 takes the whole mean away.

    Returns:
        Shape [B, N, D].
    """
    return tokens - share * tokens.mean(dim=1, keepdim=True) if share else tokens


class TokenStatistics(RidgeStatistics):
    """Sums over clips that class tokens are solved from, with single tokens counted too.

    Of the Gram matrix, which is symmetric, the lower triangle is kept and what lies above it is not
    to be read; `cign.networks.ridge.solve_ridge` reads the lower one alone.

    A clip with features f_n, saliency u_n and label y adds, with F = sum_n u_n f_n,

        G += (1 - s) F F^T + s sum_n v_n f_n f_n^T        Q += ((1 - s) F + s sum_n v_n f_n) y^T

    so that the solution minimises, over all clips, (1 - s) |F X - y|^2 + s sum_n v_n |f_n X - y|^2
    + ridge |X|^2: s = 0 asks that a clip's mean score be its label, s = 1 that every token's be.
    v_n are the u_n of the most salient tokens, normalised again; the sum over single tokens is
    what costs time, and the others hardly count in it.
    The first alone leaves single tokens free to be anything that averages out, the second is
    drawn to the background; between them single scores mean something and clips are still told
    apart.
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
        """Add clips, in place; products in the features' precision, sums in the statistics'.

        Args:
            pieces: f_n and u_n of some clips at a time, shapes [b, N, W] and [b, N]. Each piece is
                done with before the next is asked for: features of all clips need not lie in
                memory at once, and those of few stay in the processor's cache.
            targets: Multi-hot labels of all of them, shape [B, C].
            token_share: s.
            num_single: How many tokens count singly, the most salient first; all if None.
            rounding: Round what the Gram matrix is a product of, float32, to bfloat16.
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

    def merge(self, other: RidgeStatistics) -> None:
        """Add another machine's sums over other clips, in place.

        Args:
            other: Of the same width; its classes are the first of this one's.
        """
        self.gram += other.gram
        self.cross[:, : other.cross.shape[1]] += other.cross


def _clip_rows(
    features: Tensor, shares: Tensor, token_share: float, num_single: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What clips add to the sums: rows to be multiplied by themselves, and one to be by the labels.

    Args:
        features: f_n, shape [b, N, W].
        shares: u_n, shape [b, N].
        token_share: s.
        num_single: How many tokens count singly; all if None.

    Returns:
        sqrt(1 - s) F, shape [b, W]; sqrt(s v_n) f_n of all that count singly, shape [n, W]; and
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
        features = features.flatten(0, 1)[begins + chosen]  # whole rows: faster than by element
    weighted = (features * (token_share * shares).sqrt().unsqueeze(-1)).flatten(0, 1)
    single = (shares.unsqueeze(1) @ features).squeeze(1)
    return whole, weighted, (1.0 - token_share) * pooled + token_share * single


def _most_salient(shares: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Clips' most salient tokens, by saliency; among equals such as lie all over the clip.

    Where all count alike, a sound's first ones would all be of its beginning. So equals are taken
    in the order of the fractions of n times the golden ratio, which spreads any number of them.

    Args:
        shares: u_n, shape [b, N].
        number: Of tokens a clip, at most N.

    Returns:
        Their saliency and their positions, each of shape [b, number].
    """
    positions = torch.arange(shares.shape[1], dtype=torch.float64, device=shares.device)
    spread = (positions * ((math.sqrt(5.0) - 1.0) / 2.0)).frac().argsort()
    ordered, places = shares[:, spread].sort(dim=1, descending=True, stable=True)
    return ordered[:, :number], spread[places[:, :number]]


def assign_tokens(scores: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """The share that each token has in each class's evidence.

    A[n,i] = u_n exp(s_ni / tau) / sum_n of the same. `cign` takes the soft-max over classes; here
    it is over tokens, which asks of each class where it is and lets a token serve several.

    Args:
        scores: s_ni, each token's score for each class, shape [B, N, C].
        shares: u_n, shape [B, N].
        temperature: tau; infinity gives A = u.

    Returns:
        Shape [B, N, C], sums to one over tokens.
    """
    prior = shares.clamp_min(torch.finfo(shares.dtype).tiny).log().unsqueeze(-1)
    return (scores / temperature + prior).softmax(dim=1)
