"""Two classes of a closed-form method made one, without any clip.

The cross-correlation is a sum of f y^T over clips (`cign.networks.token_ridge`). If no clip has
both labels in full, the one-hot column of the joined class is the sum of the two columns, and so
are its column of the cross-correlation and its number of clips; the Gram matrix does not depend on
labels. So the solution is that of having learned all these clips with one label, given the
settings. All of it is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cign.methods.capabilities import Updatable
from cign.methods.clip_records import ClipRecords
from cign.methods.forgetting import correct_tallies, recorded_tallies
from cign.methods.left_out import SumsOfViews
from cign.vocabulary import UNIMODAL


@torch.no_grad()
def join_columns(one: SumsOfViews, index: int, into: int) -> None:
    """Add the column of one class to that of another and remove it, in place.

    The settings stay as they are. The tallies that select them weight the clips of both classes as
    those of one; the losses of these clips remain as they were measured, with two classes. Call
    `solve` after it.

    Args:
        one: A method that is also `Updatable`.
        index: The removed class.
        into: The class whose label its clips have from now on.
    """
    assert isinstance(one, Updatable)
    records = one.records
    arrivals = records.arrivals.unique().tolist()
    before = {m: recorded_tallies(records, m, arrivals, one.num_classes) for m in UNIMODAL}
    _relabel(records, index, into)
    after = {m: recorded_tallies(records, m, arrivals, one.num_classes) for m in UNIMODAL}
    for modality in UNIMODAL:
        ridge = one.of(modality)
        correct_tallies(ridge, before[modality], after[modality])
        for view in one.options.settings.views:
            sums = ridge.statistics_of(view)
            for kind in sums.kinds:
                name = f"{kind}_cross"
                setattr(sums, name, _added(getattr(sums, name), index, into))
    one.class_clips = _added(one.class_clips, index, into)
    one.remove_class(index)


def _added(values: Tensor, index: int, into: int) -> Tensor:
    """A copy of [..., C] with one entry of the last dimension added to another."""
    values = values.clone()
    values[..., into] += values[..., index]
    return values


def _relabel(records: ClipRecords, index: int, into: int) -> None:
    """Replace a label by another one; a clip that has shares of both has one label afterwards."""
    classes = torch.where(records.label_classes == index, into, records.label_classes)
    pairs = torch.stack([records.label_clips, classes], dim=1)
    pairs, number = pairs.unique(dim=0, return_inverse=True)
    shares = records.label_shares.new_zeros(len(pairs))
    usable = torch.zeros(len(pairs), dtype=torch.int64, device=classes.device)
    records.label_shares = shares.index_add(0, number, records.label_shares)
    usable = usable.index_add(0, number, records.label_usable.to(torch.int64))
    records.label_clips, records.label_classes = pairs[:, 0].clone(), pairs[:, 1].clone()
    records.label_usable = usable > 0
