"""Views of a clip: fixed functions that give the vectors a closed-form method classifies.

A view depends on a single clip and never on the data set, so that sums over clips stay exact in any
order. All of it is ours, apart from pooling by mean and deviation (statistics pooling: Snyder et
al., ICASSP 2018).

Legend: B clips, N tokens, D width of a token.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from cign.errors import InputError, one_of

POOLINGS = ("tokens", "mean", "statistics")
NORMALISATIONS = ("layer", "root")


@dataclass(frozen=True, kw_only=True)
class View:
    """Which vectors of a clip are classified, and how much each of them counts.

    Attributes:
        pooling: ``tokens`` keeps every token, ``mean`` their mean, ``statistics`` the mean, maximum
            and standard deviation over the tokens, side by side.
        normalisation: ``layer`` normalises each vector to mean 0 and variance 1; ``root`` takes
            signed square roots before, which damps large activations (power normalisation:
            Perronnin et al., ECCV 2010).
        contrast: Share of the clip mean subtracted from tokens, see `contrast`.
        saliency: Power of `saliency` of tokens; 0 weights all equally.
    """

    pooling: str = "tokens"
    normalisation: str = "layer"
    contrast: float = 0.0
    saliency: float = 0.0

    def __post_init__(self) -> None:
        """Reject unknown names and values out of range."""
        for name, value, allowed in (
            ("pooling", self.pooling, POOLINGS),
            ("normalisation", self.normalisation, NORMALISATIONS),
        ):
            if value not in allowed:
                raise one_of(value, allowed, name)
        if not 0.0 <= self.contrast <= 1.0:
            raise InputError("bad-value", f"contrast {self.contrast} must be in [0, 1]")
        if not 0.0 <= self.saliency < float("inf"):
            raise InputError("bad-value", f"saliency {self.saliency} must be 0 or more")

    @property
    def has_tokens(self) -> bool:
        """Whether single tokens are classified."""
        return self.pooling == "tokens"

    @property
    def projection(self) -> str:
        """Name of the inputs that share random projections."""
        return "statistics" if self.pooling == "statistics" else "tokens"

    def vectors(self, tokens: Tensor) -> Tensor:
        """The vectors to classify, [B, N, D] to [B, N', D'], before layer normalisation."""
        if self.pooling == "tokens":
            x = contrast(tokens, self.contrast)
        elif self.pooling == "mean":
            x = tokens.mean(dim=1, keepdim=True)
        else:
            parts = (
                tokens.mean(dim=1),
                tokens.amax(dim=1),
                tokens.std(dim=1, correction=0),
            )
            return torch.cat([self._root(layer_norm(x, x.shape[1:])) for x in parts], 1).unsqueeze(
                1
            )
        return self._root(x)

    def _root(self, x: Tensor) -> Tensor:
        return x.sign() * x.abs().sqrt() if self.normalisation == "root" else x

    def shares(self, tokens: Tensor) -> Tensor:
        """How much each vector counts in the clip, shape [B, N'], which sums to one."""
        if not self.has_tokens:
            return tokens.new_ones(len(tokens), 1)
        return saliency(tokens, self.saliency)


def views_of(
    *,
    pooling: tuple[str, ...],
    normalisation: tuple[str, ...],
    contrast: tuple[float, ...],
    saliency: tuple[float, ...],
) -> tuple[View, ...]:
    """All views to choose from, the default first.

    Values of contrast and saliency are paired by position; a single value is paired with every
    value of the other. They do not multiply views without tokens. Further normalisations are
    combined only with the first pooling and with the plainest pair, that of the least contrast and
    then of the least saliency.

    Raises:
        InputError: If there are other numbers of both, or a pair is repeated.
    """
    pairs = _pairs(contrast, saliency)
    values = [
        *((normalisation[0], pooled, *pair) for pooled in pooling for pair in pairs),
        *((other, pooling[0], *min(pairs)) for other in normalisation[1:]),
    ]
    views: dict[View, None] = {}
    for kind, pooled, share, power in values:
        view = View(pooling=pooled, normalisation=kind, contrast=share, saliency=power)
        views[view if view.has_tokens else replace(view, contrast=0.0, saliency=0.0)] = None
    return tuple(views)


def _pairs(contrast: tuple[float, ...], saliency: tuple[float, ...]) -> list[tuple[float, float]]:
    lists = f"contrast {list(contrast)} and saliency {list(saliency)}"
    num = max(len(contrast), len(saliency))
    if {len(contrast), len(saliency)} - {1, num}:
        raise InputError("bad-value", f"{lists} are pairs: list as many of both, or one of either")
    pairs = list(zip(*((x * num if len(x) == 1 else x) for x in (contrast, saliency)), strict=True))
    if len(set(pairs)) < num:
        raise InputError("bad-value", f"{lists} must be different pairs")
    return pairs


def describe(view: View) -> dict[str, Any]:
    """The settings of a view that have an effect."""
    settings = asdict(view)
    if not view.has_tokens:
        del settings["contrast"], settings["saliency"]
    return settings


def saliency(tokens: Tensor, power: float) -> Tensor:
    """How much each token differs from its clip: a fixed function of the clip.

    u_n = |x_n - mean x|^(2 power) / sum_n |x_n - mean x|^(2 power): with power 1, the share of a
    token in the variance of the clip. Most of an image is background; tokens that differ from it
    may be an object. Subtracting a share of the mean (`contrast`) does not change it.

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

    The part that all tokens of a clip have in common is mostly background.

    Args:
        tokens: Tokens, shape [B, N, D].
        share: 0 leaves the tokens unchanged, 1 subtracts the whole mean.

    Returns:
        Tokens, shape [B, N, D].
    """
    return tokens - share * tokens.mean(dim=1, keepdim=True) if share else tokens
