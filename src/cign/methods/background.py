"""Background in closed-form methods: clips with none of the classes, in sums of their own.

Its rows enter the ridge regression with targets of zero, so that every class scores it low. They
are summed apart from those of the classes (`cign.networks.token_ridge.TokenStatistics`), because
the leverage of an unknown score measures the distance from the clips of known classes. Targets of
zero are the usual regression target of a clip without the class; the separate sums are ours.

Legend: B clips, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from torch import Tensor

from cign.methods.base import Batch, TaskData
from cign.methods.modality_ridge import ModalityRidge
from cign.methods.one_pass import OnePass
from cign.vocabulary import UNIMODAL


class WithBackground(OnePass):
    """The part of a closed-form method that learns background; without any it stores nothing."""

    supports_background: ClassVar[bool] = True
    class_clips: Tensor
    background_clips: Tensor

    def of(self, modality: str) -> ModalityRidge:
        """The ridge regression of ``audio`` or ``visual``."""
        raise NotImplementedError

    @property
    def num_background(self) -> float:
        """Number of background clips, each counted by its weight."""
        return float(self.background_clips) if hasattr(self, "background_clips") else 0.0

    def make_background(self) -> None:
        """Make room for background clips, unless there is."""
        if not hasattr(self, "background_clips"):
            self.register_buffer("background_clips", self.class_clips.new_zeros(()))
        for modality in UNIMODAL:
            self.of(modality).make_background()

    def count_background(self, number: float) -> None:
        """Add a number of background clips whose sums were added."""
        if number:
            self.make_background()
            self.background_clips += number

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Make room for background clips if a state to load has some."""
        super().make_room(state)
        if "background_clips" in state:
            self.make_background()

    def before_task(self, data: TaskData) -> None:
        """Make room for background clips, in every process, if the task has some."""
        super().before_task(data)
        if (data.class_of(data.new) < 0).any():
            self.make_background()

    def parts_of(
        self, batch: Batch
    ) -> Iterator[tuple[Tensor | None, Tensor | None, Tensor | None]]:
        """Split a batch into clips of the classes and background, and count the latter.

        Yields:
            Labels or their shares [b, C], None for background; weights [b], None if all are 1; and
            which clips of the batch these are, bool [B], None for all.
        """
        background = batch.background
        if background is None:
            yield batch.label_shares, batch.weights, None
            return
        self.make_background()
        labelled = background.logical_not()
        for rows, labels in ((labelled, batch.label_shares[labelled]), (background, None)):
            weights = None if batch.weights is None else batch.weights[rows]
            if labels is None:
                self.background_clips += rows.sum() if weights is None else weights.sum()
            if bool(rows.any()):
                yield labels, weights, rows
