"""Backbones with fewer tokens, averaged over coarser grids.

``NAME@pooled`` and ``NAME@4x4`` are separate backbones with their own name and fingerprint, so that
caches never mix and a model encodes files with the grid that it was trained on.

Legend: B clips, M visual time steps of a clip, N tokens, D width.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from cign.backbones.base import Backbone
from cign.backbones.blocks import STEM
from cign.backbones.fitting import FittedBackbone, fit, record_of
from cign.data.media.decode import MediaSpec
from cign.errors import InputError

FULL, POOLED = "full", "pooled"
MAX_MOMENTS = 16  # ours: audio time steps if only the visual grid is given
_SUFFIX = re.compile(r"@(pooled|\d+x\d+(?:\+\d+x\d+)?)$")
_GRIDS = re.compile(r"(\d+)x(\d+)(?:\+(\d+)x(\d+))?")


def split_tokens(name: str) -> tuple[str, str | None]:
    """Split a name into the backbone and its token reduction, if any."""
    found = _SUFFIX.search(name)
    return (name, None) if found is None else (name[: found.start()], found.group(1))


def with_tokens(name: str, tokens: str | None) -> str:
    """The name of a backbone with fewer tokens.

    Args:
        name: Name of the backbone, which may include a reduction.
        tokens: ``full``, ``pooled``, ``PxQ`` or ``PxQ+FxT``; None keeps the reduction of the name.

    Raises:
        InputError: If ``tokens`` is invalid, or the name includes another reduction.
    """
    base, named = split_tokens(name)
    if tokens is None or tokens == named:
        return name
    if tokens != FULL and not (tokens == POOLED or _GRIDS.fullmatch(tokens)):
        raise InputError(
            "unknown-name",
            f"unknown tokens {tokens!r}: use full, pooled, PxQ (rows and columns of a frame, for "
            "example 4x4) or PxQ+FxT (and frequencies and time steps of the audio)",
        )
    if named is not None:
        raise InputError(
            "conflicting-options",
            f"backbone {name!r} has tokens {named} and --tokens is {tokens}: leave one of them out",
        )
    return base if tokens == FULL else f"{base}@{tokens}"


class ReducedBackbone(FittedBackbone):
    """A backbone whose tokens are averages of the tokens of another one.

    ``pooled`` averages all tokens to one per modality. ``PxQ`` averages the grid of each visual
    time step to P rows and Q columns, and audio tokens to one row and at most `MAX_MOMENTS` time
    steps; ``PxQ+FxT`` also sets the audio grid. If a grid is not a multiple, cells overlap by less
    than one token, as in adaptive average pooling.

    Args:
        inner: The backbone to reduce.
        tokens: The reduction.

    Raises:
        InputError: If a grid is empty or finer than that of the backbone.
    """

    def __init__(self, inner: Backbone, tokens: str) -> None:
        super().__init__()
        if inner.name.endswith(STEM):
            raise InputError(
                "conflicting-options",
                f"the tokens of backbone {inner.name!r} enter a transformer, which needs all of "
                "them: leave --tokens out",
            )
        self.inner = inner
        self.tokens = tokens
        self.name = f"{inner.name}@{tokens}"
        self.input_px = inner.input_px
        self.audio_dim, self.visual_dim = inner.audio_dim, inner.visual_dim
        self._fit_grids()

    def _fit_grids(self) -> None:
        """Compute the grids from those of the inner backbone."""
        inner = self.inner
        self.spec = inner.spec
        if self.tokens == POOLED:
            self.visual_grid = self.audio_grid = (1, 1)
            return
        found = _GRIDS.fullmatch(self.tokens)
        assert found is not None
        rows, columns, *audio = (None if part is None else int(part) for part in found.groups())
        assert rows is not None
        assert columns is not None
        self.visual_grid = (rows, columns)
        frequencies, moments = audio
        if frequencies is None or moments is None:
            frequencies, moments = 1, min(inner.audio_grid[1], MAX_MOMENTS)
        self.audio_grid = (frequencies, moments)
        for what, grid, finest in (
            ("a frame", self.visual_grid, inner.visual_grid),
            ("the audio", self.audio_grid, inner.audio_grid),
        ):
            if not (1 <= grid[0] <= finest[0] and 1 <= grid[1] <= finest[1]):
                raise InputError(
                    "bad-value",
                    f"tokens {self.tokens} set a grid of {grid[0]} x {grid[1]} for {what}, "
                    f"backbone {inner.name!r} has {finest[0]} x {finest[1]}: use 1 x 1 up to that",
                )

    def take(self, spec: MediaSpec) -> None:
        """See `FittedBackbone`."""
        fit(self.inner, spec)
        self._fit_grids()

    @property
    def record(self) -> dict[str, Any] | None:
        """See `FittedBackbone`."""
        return record_of(self.inner)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Backbone`."""
        return self.inner.notes

    @property
    def runtime(self) -> str:
        """See `Backbone`."""
        return self.inner.runtime

    @property
    def fingerprint(self) -> str:
        """See `Backbone`."""
        return hashlib.sha256(f"{self.inner.fingerprint} {self.tokens}".encode()).hexdigest()

    @property
    def num_visual_tokens(self) -> int:
        """See `Backbone`; one if the tokens are pooled."""
        if self.tokens == POOLED:
            return 1
        rows, columns = self.inner.visual_grid
        moments = self.inner.num_visual_tokens // (rows * columns)
        return moments * self.visual_grid[0] * self.visual_grid[1]

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens = self.inner.audio_tokens(audio)
        if self.tokens == POOLED:
            return tokens.mean(dim=1, keepdim=True)
        return _averaged(tokens, self.inner.audio_grid, self.audio_grid)

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """See `Backbone`."""
        tokens = self.inner.visual_tokens(frames)
        if self.tokens == POOLED:
            return tokens.mean(dim=1, keepdim=True)
        return _averaged(tokens, self.inner.visual_grid, self.visual_grid)


def _averaged(tokens: Tensor, grid: tuple[int, int], coarser: tuple[int, int]) -> Tensor:
    """Average M consecutive grids, [B, M * rows * columns, D], to coarser ones."""
    x = tokens.unflatten(1, (-1, *grid))  # [B, M, rows, columns, D]
    batch = x.shape[0]
    x = F.adaptive_avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), coarser)
    return x.flatten(2).transpose(1, 2).unflatten(0, (batch, -1)).flatten(1, 2)
