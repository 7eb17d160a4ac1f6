"""Forgetting of clips by a closed-form method: its sums without them, given their tokens again.

Sums over clips minus those over some of them are the sums over the others, so that the solution is
that of a method which never learned these clips, given the settings. The tallies that select
settings (`cign.methods.modality_ridge.ModalityRidge`) lose the losses of the forgotten clips, and
the remaining clips of the same classes and arrival get their weight; what the forgotten clips
contributed to the solutions by which other clips were scored cannot be undone without these clips.
All of it is ours.

Legend: n clips, m scored clips, C classes, K settings.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from cign.methods.base import Batch
from cign.methods.clip_records import ClipRecords
from cign.methods.closed_form import ClosedForm
from cign.methods.left_out import SumsOfViews
from cign.methods.loss_weights import PART_OF_CLIP, loss_weights, num_scored_classes
from cign.methods.modality_ridge import ModalityRidge
from cign.vocabulary import UNIMODAL


@torch.no_grad()
def forget_clips(
    one: SumsOfViews,
    batches: Iterable[Batch],
    rows: Sequence[int],
    *,
    time_s: int,
    reset_selection: bool = False,
) -> None:
    """Subtract recorded clips from the sums, in place; call `solve` after it.

    Args:
        one: The method.
        batches: The tokens of the clips in the order of ``rows``, with their recorded labels.
        rows: The clips in the records of the method.
        time_s: When they are forgotten, in seconds since 1970.
        reset_selection: Whether to drop the tallies and all recorded losses, so that no influence
            of the clips is left; settings that were not set by hand are the default ones then,
            until other clips show better ones.
    """
    assert isinstance(one, ClosedForm)
    _subtract(one, batches)
    arrivals = one.records.arrivals[list(rows)].unique().tolist()
    before = {m: recorded_tallies(one.records, m, arrivals, one.num_classes) for m in UNIMODAL}
    one.records.drop(rows, time_s)
    if reset_selection:
        one.records.drop_losses()
    for modality in UNIMODAL:
        ridge = one.of(modality)
        if not reset_selection:
            after = recorded_tallies(one.records, modality, arrivals, one.num_classes)
            correct_tallies(ridge, before[modality], after)
        if reset_selection or float(ridge.evidence) == 0:
            ridge.losses = ridge.settings.without_losses().to(ridge.losses)
            ridge.squares = ridge.settings.without_losses().to(ridge.squares)
            ridge.evidence = torch.zeros_like(ridge.evidence)
        if not ridge.fixed:
            ridge.choose()


def correct_tallies(
    ridge: ModalityRidge, before: Sequence[Tensor], after: Sequence[Tensor]
) -> None:
    """Replace a part of the tallies; settings whose system was singular stay excluded."""
    for name, was, is_now in zip(("losses", "squares", "evidence"), before, after, strict=True):
        own = getattr(ridge, name)
        changed = own + (is_now - was).reshape(own.shape).to(own)
        finite = own.isfinite() & changed.isfinite()
        setattr(ridge, name, torch.where(finite, changed.clamp_min(0.0), torch.inf))


def _subtract(one: ClosedForm, batches: Iterable[Batch]) -> None:
    """Subtract clips from the sums and counts."""
    gone = copy.deepcopy(one)
    for module, name in _sums(gone):
        getattr(module, name).zero_()
    for batch in batches:
        gone.absorb(batch)
    for (module, name), (other, _) in zip(_sums(one), _sums(gone), strict=True):
        setattr(module, name, getattr(module, name) - getattr(other, name))
    if hasattr(one, "background_clips"):
        one.background_clips = _counted(one.background_clips)
    one.class_clips = _counted(one.class_clips)


def _sums(one: ClosedForm) -> list[tuple[nn.Module, str]]:
    """The buffers that are sums over clips, and their modules."""
    return [
        (module, name)
        for module in one.modules()
        for name, _ in module.named_buffers(recurse=False)
        if name in one.sums_over_clips
    ]


def _counted(clips: Tensor) -> Tensor:
    """Numbers of clips without rounding errors of their differences."""
    return torch.where(clips < PART_OF_CLIP, 0.0, clips)


def recorded_tallies(
    records: ClipRecords, modality: str, arrivals: Iterable[int], num_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What the recorded clips of some arrivals add to the tallies of a modality.

    Returns:
        The losses and squares of each setting, float64 [K], and the evidence.
    """
    losses = getattr(records, f"{modality}_losses")
    total = torch.zeros(losses.shape[1:].numel(), dtype=torch.float64)
    squares, evidence = torch.zeros_like(total), torch.zeros((), dtype=torch.float64)
    usable = _usable(records, num_classes)
    for arrival in arrivals:
        at = (records.arrivals[records.scored] == arrival).nonzero().flatten().cpu()
        if len(at) == 0:
            continue
        own = usable[records.scored.cpu()[at]]
        weights = loss_weights(own, torch.ones_like(own))
        values = losses.cpu()[at].flatten(1).to(torch.float64)
        weighted = torch.where(weights.unsqueeze(1) > 0, values * weights.unsqueeze(1), 0.0)
        total += weighted.sum(dim=0)
        sets, number = records.scored_sets.cpu()[at].unique(return_inverse=True)
        difference = (weighted - weighted[:, :1]).nan_to_num(nan=torch.inf)
        by_set = difference.new_zeros(len(sets), len(total)).index_add(0, number, difference)
        squares += by_set.square().sum(dim=0)
        evidence += num_scored_classes(own, torch.ones_like(own))
    return total, squares, evidence


def _usable(records: ClipRecords, num_classes: int) -> Tensor:
    """What the labels that are part of the tallies count, float64, [n, C]."""
    found = torch.zeros(len(records), num_classes, dtype=torch.float64)
    some = records.label_usable
    clips, classes = records.label_clips[some], records.label_classes[some]
    counted = records.label_shares[some] * records.weights[clips]
    found[clips.cpu(), classes.cpu()] = counted.cpu()
    return found
