"""A trained model in memory: a method, its classes, and everything to predict files."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch

from cign.backbones.base import Backbone
from cign.backbones.fitting import fit
from cign.backbones.registry import load_backbone, no_encoders
from cign.data.media.decode import MediaSpec
from cign.errors import InputError
from cign.methods.base import Method
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule
from cign.saved_model.class_thresholds import ClassThresholds
from cign.saved_model.validation_clips import KeptClips
from cign.training.arrival import ArrivalEstimate
from cign.utils.devices import device_of, move_to


@dataclasses.dataclass(kw_only=True)
class Model:
    """A trained method, and everything to predict files.

    Attributes:
        method: The method, in evaluation mode.
        groups: Class names of each task, in the order of learning; a task is empty if its classes
            were removed.
        regime: ``frozen`` or ``end-to-end``.
        backbone: Name or folder of the backbone.
        fingerprint: Fingerprint of the frozen backbone's weights; empty for end-to-end.
        spec: Decoding settings of the backbone; None for a model of features, whose encoders are
            not available.
        unknown: Rule that detects clips of unknown classes.
        results: Metrics of the original run, for the model card.
        versions: Versions of the software that trained it.
        kept: Validation clips that measure the effect of changes; None without any.
        changes: Additions, merges, renamings and the like since training: ``date``, ``text`` and,
            for added clips, the ``list_hash`` of their list and, if they were of new classes, the
            number of their ``task``, from 1; ``dropped`` is ``thresholds`` if a change dropped
            those of the classes.
        estimates: Leave-one-out accuracy of each task and addition at its arrival.
        thresholds: Thresholds of the classes' probabilities; None without any. They are for this
            model only: any change of its predictions drops them.
    """

    method: Method
    groups: tuple[tuple[str, ...], ...]
    regime: str
    backbone: str
    fingerprint: str
    spec: MediaSpec | None
    unknown: UnknownRule = dataclasses.field(default_factory=UnknownRule)
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    kept: KeptClips | None = None
    changes: tuple[dict[str, str], ...] = ()
    estimates: tuple[ArrivalEstimate, ...] = ()
    thresholds: ClassThresholds | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in the order of learning."""
        return tuple(name for group in self.groups for name in group)

    @property
    def unknown_threshold(self) -> float | None:
        """Clips with a higher audio-visual unknown score are called unknown."""
        return self.unknown.thresholds.get("audio_visual")

    @property
    def media_spec(self) -> MediaSpec:
        """Decoding settings of the backbone.

        Raises:
            InputError: If the model was trained on features and cannot encode files.
        """
        if self.spec is None:
            raise no_encoders(self.backbone)
        return self.spec

    @property
    def device(self) -> torch.device:
        """Device of the method; validation clips stay in main memory."""
        return device_of(self.method)

    def to(self, device: str) -> Model:
        """Move the method to a device, in place.

        Args:
            device: As returned by `cign.utils.devices.resolve_device`.

        Raises:
            InputError: If the method cannot compute there.
        """
        move_to(self.method, device)
        self.__dict__.pop("evidence_reader", None)  # its matrices are on the previous device
        return self

    @functools.cached_property
    def evidence_reader(self) -> EvidenceReader:
        """Computes the evidence for unknown scores; cached, because it factorises matrices."""
        parts = {name for moments in self.unknown.moments.values() for name in moments}
        return EvidenceReader(self.method, with_leverage="leverage" in parts)

    def load_backbone(self) -> Backbone:
        """Load the backbone that computes this model's tokens, on the device of the method.

        Raises:
            InputError: If it cannot be loaded or its weights differ from those used in training.
        """
        spec = self.media_spec
        backbone = load_backbone(self.backbone)
        fit(backbone, spec)
        if backbone.fingerprint != self.fingerprint:
            raise InputError(
                "weights-mismatch",
                f"backbone {self.backbone} has other weights than the model was trained with: "
                "use the version of cign or the folder it was trained with",
            )
        return backbone.to(self.device)
