"""What a closed-form method records of each clip in its sums: which it was, never what it shows.

The hash of a clip's decoded content tells whether the clip was learned, and its labels how it
entered the sums. Its losses under every candidate setting are its part of the tallies
(`cign.methods.modality_ridge.ModalityRidge`), so that these can be computed again without it. All
of it is ours.

Legend: n clips, p labels of all clips, m scored clips, K settings of a modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cign.data.tasks import BoolArray, FloatArray, HashArray, IntArray, are_among
from cign.errors import InputError
from cign.methods.recorded_clips import RecordedClips, ScoredLosses
from cign.vocabulary import UNIMODAL

HASH_BYTES = 32
_MOST = float(torch.finfo(torch.float16).max)
_KINDS: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
    "hashes": ((HASH_BYTES,), torch.uint8),
    "arrivals": ((), torch.int64),
    "weights": ((), torch.float64),
    "background": ((), torch.bool),
    "label_clips": ((), torch.int64),
    "label_classes": ((), torch.int64),
    "label_shares": ((), torch.float64),
    "label_usable": ((), torch.bool),
    "scored": ((), torch.int64),
    "scored_sets": ((), torch.int64),
    "forgotten": ((HASH_BYTES,), torch.uint8),
    "forgotten_at": ((), torch.int64),
}
_OF_LABELS = ("label_clips", "label_classes", "label_shares", "label_usable")


class ClipRecords(nn.Module):
    """Records of the clips that are in the sums of a closed-form method.

    An arrival is a task or an addition, whose clips were absorbed and scored together.

    Args:
        shape: Numbers of values of a modality's settings.

    Attributes:
        hashes: SHA-256 of the decoded content of each clip, uint8, shape [n, 32].
        arrivals: Number of the arrival of each clip, shape [n].
        weights: Weight of each clip, shape [n].
        background: Which clips were learned as having none of the classes, shape [n].
        label_clips: Clip of each label, shape [p].
        label_classes: Class of each label, shape [p].
        label_shares: Share of each label, shape [p]; 1 if it is certain.
        label_usable: Whether the label has a part in the tallies, shape [p].
        scored: Clips whose losses are in the tallies, shape [m].
        scored_sets: Number of the set of each of them within its arrival, shape [m].
        audio_losses: Their audio-only losses, float16, shape [m, *shape]; rounding changes no
            tally, because tallies are added up from unrounded losses.
        visual_losses: The same for the visual modality.
        forgotten: Hashes of clips that were forgotten, shape [f, 32].
        forgotten_at: When, in seconds since 1970, shape [f].
    """

    hashes: Tensor
    arrivals: Tensor
    weights: Tensor
    background: Tensor
    label_clips: Tensor
    label_classes: Tensor
    label_shares: Tensor
    label_usable: Tensor
    scored: Tensor
    scored_sets: Tensor
    audio_losses: Tensor
    visual_losses: Tensor
    forgotten: Tensor
    forgotten_at: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        losses = {f"{modality}_losses": (shape, torch.float16) for modality in UNIMODAL}
        for name, (tail, dtype) in (_KINDS | losses).items():
            self.register_buffer(name, torch.zeros(0, *tail, dtype=dtype))

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def num_bytes(self) -> int:
        """Bytes of all records."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Resize the buffers to the shapes of a state to load; names without prefix."""
        for name in dict(self.named_buffers()):
            if name in state and state[name].ndim == getattr(self, name).ndim:
                where = getattr(self, name).device
                self.register_buffer(name, torch.empty_like(state[name], device=where))

    def check(self, num_classes: int) -> None:
        """Check that rows and classes exist.

        Raises:
            InputError: If a loaded state is inconsistent.
        """
        n, p, m = len(self.hashes), len(self.label_clips), len(self.scored)
        lengths = {
            "arrivals": n,
            "weights": n,
            "background": n,
            "label_classes": p,
            "label_shares": p,
            "label_usable": p,
            "scored_sets": m,
            "audio_losses": m,
            "visual_losses": m,
            "forgotten_at": len(self.forgotten),
        }
        limits = {"label_clips": n, "label_classes": num_classes, "scored": n}
        odd = [name for name, length in lengths.items() if len(getattr(self, name)) != length]
        odd += [
            name
            for name, limit in limits.items()
            if bool(((getattr(self, name) < 0) | (getattr(self, name) >= limit)).any())
        ]
        # Of early arrivals all clips may be forgotten, so that a number may exceed the clips left.
        odd += ["arrivals"] if bool((self.arrivals < 0).any()) else []
        if odd:
            raise InputError(
                "damaged",
                f"the records of learned clips are inconsistent ({odd[0]}): restore the weights",
            )

    # ------------------------------------------------------------------ record

    @property
    def num_arrivals(self) -> int:
        """Number of the next arrival."""
        return int(self.arrivals.max()) + 1 if len(self) else 0

    def add(self, clips: RecordedClips, scored: ScoredLosses | None) -> None:
        """Record the clips of an arrival.

        Args:
            clips: The clips.
            scored: Losses that were added to the tallies; None without any.
        """
        hashes, targets = clips.hashes, torch.from_numpy(np.asarray(clips.shares))
        of_labels, classes = targets.nonzero(as_tuple=True)
        usable = torch.zeros_like(targets, dtype=torch.bool)
        if scored is not None:
            usable[scored.rows] = scored.usable.cpu()
        new = torch.from_numpy(np.array(hashes, dtype=np.uint8))
        more = {
            "hashes": new,
            "arrivals": torch.full((len(new),), self.num_arrivals, dtype=torch.int64),
            "weights": _or(clips.weights, torch.ones(len(new), dtype=torch.float64)),
            "background": _or(clips.background, torch.zeros(len(new), dtype=torch.bool)),
            "label_clips": of_labels + len(self),
            "label_classes": classes,
            "label_shares": targets[of_labels, classes],
            "label_usable": usable[of_labels, classes],
        }
        if scored is not None:
            more |= {"scored": scored.rows + len(self), "scored_sets": scored.sets}
            for modality, losses in scored.losses.items():
                more[f"{modality}_losses"] = _halved(losses)
        self._append(more)
        self._forget_no_more()

    def join(self, other: ClipRecords, columns: Tensor, places: Sequence[Sequence[int]]) -> None:
        """Add the records of another method.

        Args:
            other: Its records.
            columns: Class here of each class there, int64.
            places: For each option of the settings, where its values there stand here.
        """
        device, n = self.hashes.device, len(self)
        more = {name: getattr(other, name).to(device) for name in _KINDS}
        more["arrivals"] = more["arrivals"] + self.num_arrivals
        more["label_clips"] = more["label_clips"] + n
        more["label_classes"] = columns.to(device)[more["label_classes"]]
        more["scored"] = more["scored"] + n
        for modality in UNIMODAL:
            own, theirs = (getattr(one, f"{modality}_losses") for one in (self, other))
            losses = own.new_full((len(theirs), *own.shape[1:]), torch.inf)
            losses[np.ix_(range(len(theirs)), *places)] = theirs.to(own)
            more[f"{modality}_losses"] = losses
        self._append(more)
        self._forget_no_more()

    def extend(self, modality: str, shape: tuple[int, ...]) -> None:
        """Make room for further values of settings, with which no clip was scored."""
        before = getattr(self, f"{modality}_losses")
        losses = before.new_full((len(before), *shape), torch.inf)
        losses[tuple(map(slice, before.shape))] = before
        setattr(self, f"{modality}_losses", losses)

    def remove_class(self, index: int) -> None:
        """Remove the labels of a class; its clips stay recorded, like their part of the sums."""
        stay = self.label_classes != index
        for name in _OF_LABELS:
            setattr(self, name, getattr(self, name)[stay])
        self.label_classes = self.label_classes - (self.label_classes > index).to(torch.int64)

    # -------------------------------------------------------------------- look up

    def rows_of(self, hashes: HashArray, *, forgotten: bool = False) -> IntArray:
        """Records with one of the given hashes, in ascending order.

        Args:
            hashes: Shape [h, 32].
            forgotten: Whether to look among the forgotten clips.
        """
        table = self.forgotten if forgotten else self.hashes
        return np.flatnonzero(are_among(table.cpu().numpy(), hashes))

    def contain(self, hashes: HashArray) -> BoolArray:
        """Which of the given hashes [h, 32] are recorded, shape [h]."""
        return are_among(hashes, self.hashes.cpu().numpy())

    def shares(self, rows: IntArray, num_classes: int) -> Tensor:
        """Shares of the labels of recorded clips, float64, shape [r, num_classes]."""
        found = torch.zeros(len(self), num_classes, dtype=torch.float64)
        found[self.label_clips.cpu(), self.label_classes.cpu()] = self.label_shares.cpu()
        return found[rows]

    def class_clips(self, num_classes: int) -> Tensor:
        """Recorded clips of each class, each counted by its weight, float64, shape [C]."""
        counts = self.label_shares.new_zeros(num_classes)
        counted = self.label_shares * self.weights[self.label_clips]
        return counts.index_add(0, self.label_classes, counted)

    @property
    def num_background(self) -> float:
        """Recorded background clips, each counted by its weight."""
        return float(self.weights[self.background].sum())

    # --------------------------------------------------------------------- forget

    def drop(self, rows: Sequence[int], time_s: int) -> None:
        """Remove records; only hash and time of the forgotten clips remain.

        Args:
            rows: Records to remove.
            time_s: Seconds since 1970.
        """
        stay = torch.ones(len(self), dtype=torch.bool, device=self.hashes.device)
        stay[list(rows)] = False
        gone = self.hashes[~stay].unique(dim=0)
        times = torch.full((len(gone),), time_s, dtype=torch.int64)
        moved = stay.cumsum(0) - 1  # the row of each record that stays
        labels, scored = stay[self.label_clips], stay[self.scored]
        for name in _OF_LABELS:
            setattr(self, name, getattr(self, name)[labels])
        self.label_clips = moved[self.label_clips]
        self.scored, self.scored_sets = moved[self.scored[scored]], self.scored_sets[scored]
        for modality in UNIMODAL:
            name = f"{modality}_losses"
            setattr(self, name, getattr(self, name)[scored])
        for name in ("hashes", "arrivals", "weights", "background"):
            setattr(self, name, getattr(self, name)[stay])
        self._append({"forgotten": gone, "forgotten_at": times})
        self._forget_no_more()

    def drop_losses(self) -> None:
        """Remove the losses of all clips."""
        self.scored, self.scored_sets = self.scored[:0], self.scored_sets[:0]
        self.label_usable = torch.zeros_like(self.label_usable)
        for modality in UNIMODAL:
            name = f"{modality}_losses"
            setattr(self, name, getattr(self, name)[:0])

    def _forget_no_more(self) -> None:
        """Remove clips from the forgotten ones that are learned (again, or in another arrival)."""
        learned = self.rows_of(self.hashes.cpu().numpy(), forgotten=True)
        if len(learned):
            stay = np.setdiff1d(np.arange(len(self.forgotten)), learned)
            self.forgotten, self.forgotten_at = self.forgotten[stay], self.forgotten_at[stay]

    def _append(self, more: Mapping[str, Tensor]) -> None:
        for name, values in more.items():
            own = getattr(self, name)
            setattr(self, name, torch.cat([own, values.to(own)]))


def _or(values: BoolArray | FloatArray | None, default: Tensor) -> Tensor:
    return default if values is None else torch.from_numpy(values)


def _halved(losses: Tensor) -> Tensor:
    """Losses in half precision; finite ones stay finite."""
    return torch.where(losses.isfinite(), losses.clamp(max=_MOST), losses).to(torch.float16)
