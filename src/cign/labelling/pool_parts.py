"""The two passes over the clips of stores, part by part.

A model that scores each token takes long for many clips. The first pass takes the means of a few
groups of a clip's tokens instead, an approximation, to find the clips whose tokens are scored.

Legend: n clips of a pool, B clips of a part, N tokens, D width of a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cign.data.batches import ArraySource, BoolArray, ClipSource, cut
from cign.data.located import Located, opened_source
from cign.data.tasks import IntArray
from cign.inference.engines import Engine, run_checked
from cign.inference.sources import ClipsToLabel
from cign.labelling.known import KnownClips
from cign.labelling.pool import Scored, least_certain, margins, release, scored_clips
from cign.layers.rounding import rounded_products
from cign.methods.capabilities import has_maps
from cign.saved_model.model import Model
from cign.training.scoring import score_clips
from cign.utils.progress import Progress
from cign.vocabulary import EVALUATION_BATCH

GROUPS = 4
"""Means that replace a clip's tokens in the first pass: more take longer, one loses proposals."""
FIRST_PART, SECOND_PART = 16 * EVALUATION_BATCH, 4 * EVALUATION_BATCH
"""Clips of a part in both passes, whole batches, so that batches do not depend on the parts."""


def scores_tokens(model: Model) -> bool:
    """Whether a first pass on means saves time: the model scores each of several tokens."""
    return model.regime == "frozen" and has_maps(model.method)


def group_means(tokens: Tensor) -> Tensor:
    """Means of `GROUPS` groups of consecutive tokens.

    Args:
        tokens: Shape [B, N, D].

    Returns:
        float32, shape [B, min(N, GROUPS), D]; groups differ by at most one token.
    """
    groups = tokens.tensor_split(min(GROUPS, tokens.shape[1]), dim=1)
    return torch.stack([group.mean(dim=1, dtype=torch.float32) for group in groups], dim=1)


@dataclass(frozen=True)
class _Means:
    """Means of groups of tokens of another source; stores which clips are validation clips."""

    source: ClipSource
    known: KnownClips
    validation: list[BoolArray] = field(default_factory=list)
    ahead: int = 0

    @property
    def bytes_per_clip(self) -> int:
        """See `ClipSource`."""
        return self.source.bytes_per_clip

    def availability(self, indices: IntArray) -> tuple[BoolArray, BoolArray]:
        """See `ClipSource`."""
        return self.source.availability(indices)

    def read(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """See `ClipSource`."""
        audio, visual = self.source.read(indices)
        self.validation.append(self.known.validation(audio, visual))
        return group_means(audio), group_means(visual)


# --------------------------------------------------------------------------- parts


@dataclass(frozen=True, kw_only=True)
class _PartOfPool:
    """Some clips.

    Attributes:
        source: Reads clips.
        indices: Their indices in the source, shape [B].
    """

    source: ArraySource | Located
    indices: IntArray

    @property
    def num_clips(self) -> int:
        """See `cign.inference.engines.Part`."""
        return len(self.indices)

    def run(self, model: Model, progress: Progress) -> Any:
        """See `cign.inference.engines.Part`."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class MeanMargins(_PartOfPool):
    """Margins of the means of clips' tokens, with factors of products rounded to bfloat16."""

    def run(self, model: Model, progress: Progress) -> tuple[NDArray[np.float32], BoolArray]:
        """Margins, and which clips are validation clips of the model; both of shape [B]."""
        source = opened_source(self.source)
        means = _Means(source, KnownClips.of(model))
        multi_label = model.method.setup.multi_label
        found = []
        for some in cut(self.indices, EVALUATION_BATCH):
            # The means are an approximation already. Threads that predict wait for one batch.
            with rounded_products(True):
                scores = score_clips(model.method, means, some, model.device, progress)
            found.append(margins(scores["audio_visual"], multi_label=multi_label))
        release(source)
        return np.concatenate(found).astype(np.float32), np.concatenate(means.validation)


@dataclass(frozen=True, kw_only=True)
class LeastCertain(_PartOfPool):
    """The clips with the smallest margins.

    Attributes:
        number: How many.
    """

    number: int

    def run(self, model: Model, progress: Progress) -> tuple[Scored | None, int]:
        """Their results, see `least_certain`, and the number of validation clips of the model."""
        known = KnownClips.of(model)
        batches = scored_clips(model, opened_source(self.source), self.indices, known, progress)
        return least_certain(batches, self.number), known.num_found["validation"]


# -------------------------------------------------------------------------- passes


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Both passes over the clips of a pool.

    Attributes:
        engine: Runs the parts.
        found: The clips.
        known: Counts the validation clips that are left out.
        progress: Receives the progress of clips.
    """

    engine: Engine
    found: ClipsToLabel
    known: KnownClips
    progress: Progress

    def least_certain_by_means(self, indices: IntArray, number: int) -> IntArray:
        """The clips with the smallest margins of means of their tokens, ascending indices.

        Args:
            indices: The clips.
            number: How many of them.
        """
        self.progress.start("mean tokens", len(indices))
        parts = cut(indices, FIRST_PART)
        found, validation = (list[Any]([None] * len(parts)) for _ in range(2))
        for number_of_part, (part, is_validation) in self._run(MeanMargins, parts):
            found[number_of_part], validation[number_of_part] = part, is_validation
        is_validation = np.concatenate(validation)
        self.known.num_found["validation"] += int(is_validation.sum())
        order = np.argsort(np.concatenate(found), kind="stable")
        return np.sort(indices[order[~is_validation[order]][:number]])

    def least_certain(self, indices: IntArray, number: int) -> Scored | None:
        """The clips with the smallest margins, see `cign.labelling.pool.least_certain`."""
        self.progress.start("scoring", len(indices))
        parts = cut(indices, SECOND_PART)

        def results() -> Iterator[Scored]:
            for number_of_part, (scored, num_known) in self._run(
                LeastCertain, parts, number=number
            ):
                self.known.num_found["validation"] += num_known
                if scored is None:
                    continue
                if self.engine.is_remote:  # numbers in the part
                    scored = replace(scored, numbers=parts[number_of_part][scored.numbers])
                yield scored

        return least_certain(results(), number)

    def _run(
        self, kind: type[_PartOfPool], indices: Sequence[IntArray], **settings: Any
    ) -> Iterator[tuple[int, Any]]:
        """Run one pass: a part for each array of indices."""
        if not self.engine.is_remote:
            parts = (kind(source=self.found.source, indices=i, **settings) for i in indices)
            return self.engine.run(parts, self.progress)
        located = self.found.located
        assert located is not None
        parts = (
            kind(source=located.take(i), indices=np.arange(len(i)), **settings) for i in indices
        )
        return run_checked(self.engine, located, parts, self.progress)
