"""A trained model in memory: a method, its classes, and what it needs to predict files."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch

from cign.backbones.base import Backbone
from cign.backbones.fitting import fit
from cign.backbones.registry import load_backbone
from cign.data.media.decode import MediaSpec
from cign.errors import InputError
from cign.methods.base import Method
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule
from cign.saved_model.validation_clips import KeptClips
from cign.utils.devices import device_of, move_to


@dataclasses.dataclass(kw_only=True)
class Model:
    """A method that has learned, and what it needs to read files.

    Attributes:
        method: The method, in evaluation mode.
        groups: Class names of each task, in the order in which they were taught; a task is empty
            when its classes were removed.
        regime: ``frozen`` or ``end-to-end``.
        backbone: Name or folder of the backbone.
        fingerprint: Of the frozen backbone's weights; empty end to end.
        spec: Decoding that the backbone needs.
        unknown: How it tells clips of classes it does not know.
        results: Figures of the run it came from, for the model card.
        versions: Versions of what made it.
        kept: Clips that the cost of a change is measured on; None where none are kept.
        changes: What was added, renamed and removed since it was learned: ``date``, ``text`` and,
            where clips were added, the ``list_hash`` of their list and, where these were of new
            classes, the ``task``, from 1 on, that they became.
    """

    method: Method
    groups: tuple[tuple[str, ...], ...]
    regime: str
    backbone: str
    fingerprint: str
    spec: MediaSpec
    unknown: UnknownRule = dataclasses.field(default_factory=UnknownRule)
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    kept: KeptClips | None = None
    changes: tuple[dict[str, str], ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in the order in which they were taught."""
        return tuple(name for group in self.groups for name in group)

    @property
    def unknown_threshold(self) -> float | None:
        """Clips with a higher unknown score of the audio-visual reading are called unknown."""
        return self.unknown.thresholds.get("audio_visual")

    @property
    def device(self) -> torch.device:
        """Where the method is; clips that are kept stay in main memory."""
        return device_of(self.method)

    def to(self, device: str) -> Model:
        """Move the method to a device, in place.

        Args:
            device: As `cign.utils.devices.resolve_device` gives it.

        Raises:
            InputError: If the method cannot compute there.
        """
        move_to(self.method, device)
        self.__dict__.pop("evidence_reader", None)  # its matrices are where the method was
        return self

    @functools.cached_property
    def evidence_reader(self) -> EvidenceReader:
        """Reads what the rule for unknown clips needs; made once, since it factorises matrices."""
        parts = {name for moments in self.unknown.moments.values() for name in moments}
        return EvidenceReader(
            self.method, with_leverage="leverage" in parts, with_distance="mahalanobis" in parts
        )

    def load_backbone(self) -> Backbone:
        """The backbone that makes this model's tokens, on the device of the method.

        Raises:
            InputError: If it cannot be loaded or has other weights than the model was made with.
        """
        backbone = load_backbone(self.backbone)
        fit(backbone, self.spec)
        if backbone.fingerprint != self.fingerprint:
            raise InputError(
                f"backbone {self.backbone} has other weights than the model was made with: "
                "use the version of cign or the folder it was made with"
            )
        return backbone.to(self.device)
