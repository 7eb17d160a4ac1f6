"""Losses of a task's clips under every setting, each by the solution without the clip's sources.

`cign.networks.leave_out` computes the scores and `cign.methods.selection` the losses.

Legend: B clips, N tokens, C classes, D width of a token, W width of the random features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cign.data.tasks import IntArray
from cign.methods.base import Batch, TaskData
from cign.methods.closed_form_options import ClosedFormOptions
from cign.methods.loss_weights import (
    PART_OF_CLIP,
    loss_weights,
    num_scored_classes,
    weights_by_class,
)
from cign.methods.modality_ridge import ModalityRidge
from cign.methods.recorded_clips import ScoredLosses
from cign.methods.selection import chosen_clips, losses_of_settings
from cign.networks.encoder import TokenShape
from cign.networks.leave_out import ClipRows, LeftOut, positions, scores_without
from cign.networks.views import View

SELECTION_BYTES = 2**30
"""Bytes of features of one view in memory during the selection."""
LARGE_SHARE = 1.5
"""A source whose rows exceed this share of W is subtracted from the sums as a whole."""


@dataclass(frozen=True, kw_only=True)
class ScoredClips:
    """The clips of a task whose losses select settings.

    Attributes:
        rows: Positions of the clips among the clips of the task.
        batches: The clips.
        sets: Positions of the clips to score and to leave out.
        targets: Labels, shape [B, C].
        shares: Shares of the labels; ``targets`` if all labels are certain.
        counted: What each clip adds to the number of clips of each class, shape [B, C].
        clip_weights: Weights of the clips, shape [B]; None if all are 1.
        counts: For each scored clip, the clips of each class that remain without its sources;
            shape [B, C].
        class_clips: Clips of each class in all tasks, shape [C].
    """

    rows: Sequence[int]
    batches: Sequence[Batch]
    sets: Sequence[LeftOut]
    targets: Tensor
    shares: Tensor
    counted: Tensor
    clip_weights: Tensor | None
    counts: Tensor
    class_clips: Tensor

    @property
    def scored(self) -> Tensor:
        """Positions of the scored clips."""
        return torch.tensor([clip for left_out in self.sets for clip in left_out.scored])

    @property
    def of_task(self) -> Tensor:
        """Which classes have clips in the task, shape [C]."""
        return self.targets.any(dim=0)

    @property
    def weights(self) -> Tensor:
        """Weights of the losses of the scored clips; see `loss_weights`."""
        return loss_weights(self.counted[self.scored], self.counts[self.scored])

    def fitted(self, *, multi_label: bool) -> Tensor:
        """What the losses of the scored clips compare scores with, shape [b, C].

        Each label of a clip of one uncertain class takes the part that its class has in the
        weight of the clip's loss, so that copies with the single labels have the same loss.
        """
        if multi_label or self.shares.dtype == torch.bool:
            return self.shares[self.scored]
        parts = weights_by_class(self.counted[self.scored], self.counts[self.scored])
        totals = parts.sum(dim=1, keepdim=True)
        return parts / totals.where(totals > 0, 1.0)

    @property
    def set_of_clip(self) -> Tensor:
        """Number of the set of each scored clip."""
        sizes = torch.tensor([len(left_out.scored) for left_out in self.sets])
        return torch.arange(len(self.sets)).repeat_interleave(sizes)

    @property
    def num_classes(self) -> int:
        """Number of classes whose loss can be measured."""
        return num_scored_classes(self.counted[self.scored], self.counts[self.scored])


def clips_to_score(
    data: TaskData, options: ClosedFormOptions, shape: TokenShape, class_clips: Tensor
) -> ScoredClips | None:
    """Choose and read the clips of a task whose losses select settings.

    Args:
        data: The task; its clips are part of the sums.
        options: Options of the method.
        shape: Numbers of tokens.
        class_clips: Clips of each class so far, shape [C].

    Returns:
        The clips; None if there is nothing to choose or no clip to choose by.
    """
    settings = options.settings
    new = without_background(data)
    if settings.size == 1 or options.most_selecting == 0 or len(new) == 0:
        return None
    num_rows = 1 + (options.num_single if any(settings.token_shares) else 0)
    num_tokens = max(shape.num_audio_tokens, shape.num_visual_tokens)
    fitting = SELECTION_BYTES // (4 * options.width * (num_tokens + num_rows))
    sets = chosen_clips(
        data.class_of(new).tolist(),
        data.sources(new),
        min(options.most_selecting, fitting),
        LARGE_SHARE * options.width / num_rows,
    )
    used, sets = positions(sets)
    batches = list(data.batches(new[used]))
    counted = torch.cat([batch.counted for batch in batches])
    counts = class_clips.expand(len(used), -1).clone()
    for left_out in sets:
        counts[list(left_out.scored)] -= counted[list(left_out.clips)].sum(dim=0).to(counts)
    clips = ScoredClips(
        rows=np.flatnonzero(np.isin(data.new, new))[used].tolist(),
        batches=batches,
        sets=sets,
        targets=torch.cat([batch.targets for batch in batches]),
        shares=torch.cat([batch.label_shares for batch in batches]),
        counted=counted,
        clip_weights=weights_of(batches),
        counts=counts,
        class_clips=class_clips,
    )
    return clips if clips.num_classes else None


def without_background(data: TaskData) -> IntArray:
    """The new clips of a task, without background clips that share no source with another clip.

    The others are left out together with the clips of their sources.
    """
    is_background = data.class_of(data.new) < 0
    if not is_background.any():
        return data.new
    sources = data.sources(data.new)
    labelled = zip(sources, is_background, strict=True)
    named = {name for of_clip, background in labelled if not background for name in of_clip}
    used = [not named.isdisjoint(of_clip) for of_clip in sources]
    chosen: IntArray = data.new[used]
    return chosen


def weights_of(batches: Sequence[Batch]) -> Tensor | None:
    """Weights of the clips of some batches, shape [B]; None if all are 1."""
    if all(batch.weights is None for batch in batches):
        return None
    return torch.cat(
        [
            torch.ones(len(batch.targets), dtype=torch.float64, device=batch.targets.device)
            if batch.weights is None
            else batch.weights
            for batch in batches
        ]
    )


def add_losses(
    one: ModalityRidge, tokens: Sequence[Tensor], clips: ScoredClips, *, multi_label: bool
) -> Tensor:
    """Add the losses of clips under every setting to the tallies of a modality.

    Args:
        one: The modality.
        tokens: Tokens of the clips, batch by batch, shape [b, N, D] each.
        clips: The clips.
        multi_label: Whether clips may have several labels.

    Returns:
        The losses, infinite for settings that repeat another one; shape [*settings, m].
    """
    tally = _Tally(one, clips)
    every = torch.full((*one.settings.shape, len(clips.scored)), math.inf)
    for number, view in enumerate(one.settings.views):
        pieces = [
            # Copies, because `pieces` may overwrite its features.
            (features.clone(), shares)
            for part in tokens
            for features, shares in one.pieces(view, part)
        ]
        features = torch.cat([features for features, _ in pieces])
        shares = torch.cat([shares for _, shares in pieces])
        for s, token_share in enumerate(one.settings.shares_of(view)):
            losses = _losses(one, view, token_share, features, shares, clips, multi_label)
            tally.add(number, s, losses)
            every[number, s, :, : losses.shape[1]] = losses.to(every)
    one.evidence += clips.num_classes
    return every


def recorded(clips: ScoredClips, losses: Mapping[str, Tensor]) -> ScoredLosses:
    """What is recorded of the clips that were scored.

    Args:
        clips: The clips.
        losses: Results of `add_losses` by modality.
    """
    scored = clips.scored
    return ScoredLosses(
        rows=torch.tensor(clips.rows, dtype=torch.int64)[scored],
        sets=clips.set_of_clip,
        usable=(clips.targets[scored] & (clips.counts[scored] > PART_OF_CLIP)).cpu(),
        losses={modality: values.movedim(-1, 0) for modality, values in losses.items()},
    )


class _Tally:
    """Adds losses to the tallies of a modality, each in comparison with the default setting.

    Args:
        one: The modality.
        clips: The clips whose losses are added.
    """

    def __init__(self, one: ModalityRidge, clips: ScoredClips) -> None:
        self.one = one
        self.weights, self.set_of_clip = clips.weights, clips.set_of_clip
        self.num_sets = len(clips.sets)
        self.default: Tensor | None = None

    def add(self, view: int, share: int, losses: Tensor) -> None:
        """Add the losses of one view and token share, [ridges, taus, temperatures, powers, B]."""
        losses = losses.to(torch.float64)
        weighted = torch.where(self.weights > 0, losses * self.weights, 0.0)
        if self.default is None:
            self.default = weighted[0, 0, 0, 0]
        num_taus = losses.shape[1]
        self.one.losses[view, share, :, :num_taus] += weighted.sum(dim=-1)
        by_set = weighted.new_zeros(*losses.shape[:-1], self.num_sets)
        difference = (weighted - self.default).nan_to_num(nan=math.inf)  # of infinite losses
        by_set.index_add_(-1, self.set_of_clip.to(difference.device), difference)
        self.one.squares[view, share, :, :num_taus] += by_set.square().sum(dim=-1)


def _losses(
    one: ModalityRidge,
    view: View,
    token_share: float,
    features: Tensor,
    shares: Tensor,
    clips: ScoredClips,
    multi_label: bool,
) -> Tensor:
    """Losses of all ridges and what follows them, [ridges, taus, temperatures, powers, B]."""
    sums, scored = one.statistics_of(view), clips.scored
    fitted, weights = sums.fitted_rows(
        features, shares, token_share, weights=clips.clip_weights, rounding=one.rounding
    )
    rows = ClipRows(fitted=fitted, weights=weights, tokens=features, targets=clips.shares)
    of_ridges = scores_without(
        sums.fitted_gram(token_share),
        sums.cross(token_share),
        one.settings.ridges,
        rows,
        clips.sets,
    )
    wanted = clips.fitted(multi_label=multi_label)
    losses = [
        losses_of_settings(
            scores[scored],
            shares[scored],
            wanted,
            clips.class_clips,
            clips.of_task,
            one.settings,
            view,
            multi_label=multi_label,
        )
        for _, scores in of_ridges
    ]
    # A system that is singular without some clips has no scores: its ridge is not selected.
    return torch.stack(losses).nan_to_num(nan=math.inf, posinf=math.inf)
