"""Clips that a model knows: those that it learned, and its stored validation clips."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from torch import Tensor

from cign.data.batches import BoolArray
from cign.data.tasks import HashArray
from cign.methods.clip_records import ClipRecords
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips
from cign.updating.learned_clips import records_all
from cign.updating.merging import sums_of
from cign.updating.new_clips import num_clips


@dataclass(frozen=True, kw_only=True)
class KnownClips:
    """Recognises clips that a model knows, and counts them.

    Learned clips are recognised by the hash of their decoded content, validation clips by their
    tokens, because of these only the tokens are stored.

    Attributes:
        records: What the model records of the clips that it learned.
        kept: Its stored validation clips; None without any.
        has_all: Whether it records all the clips.
        num_found: How many of the given clips it knew, by ``learned`` and ``validation``.
    """

    records: ClipRecords
    kept: KeptClips | None
    has_all: bool
    num_found: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, model: Model) -> Self:
        """The clips that a model of sums over views knows."""
        return cls(records=sums_of(model).records, kept=model.kept, has_all=records_all(model))

    def learned(self, hashes: HashArray) -> BoolArray:
        """Which clips the model learned.

        Args:
            hashes: SHA-256 of their decoded content, uint8, shape [B, 32].
        """
        found = self.records.contain(hashes)
        self.num_found["learned"] += int(found.sum())
        return found

    def validation(self, audio: Tensor, visual: Tensor) -> BoolArray:
        """Which clips are validation clips of the model.

        Args:
            audio: Audio tokens, shape [B, N_a, D_a].
            visual: Visual tokens, shape [B, N_v, D_v].
        """
        if self.kept is None:
            return np.zeros(len(audio), np.bool_)
        found = self.kept.contain(audio.cpu(), visual.cpu())
        self.num_found["validation"] += int(found.sum())
        return found

    def notes(self) -> list[str]:
        """What was found, and what cannot be found; one sentence each."""
        notes = []
        if not self.has_all:
            notes.append(
                "the model does not record all clips that it learned: some may be proposed again"
            )
        for kind, text in (
            ("learned", "which the model has learned"),
            ("validation", "which are validation clips of the model"),
        ):
            if self.num_found[kind]:
                notes.append(f"left out, {text}: {num_clips(self.num_found[kind])}")
        return notes
