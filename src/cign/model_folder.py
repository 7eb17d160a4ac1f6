"""The MODEL folder: weights, description with checksums, model card."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from cign.data.media import MediaSpec
from cign.devices import device_of, move_to
from cign.errors import InputError
from cign.files import replacing, write_json, write_text
from cign.hub import check_backbone, hub_name, local_place
from cign.kept import KeptClips
from cign.methods import METHODS
from cign.methods.base import READINGS, Method
from cign.model_building import build_method, groups_of
from cign.model_card import model_card
from cign.model_files import (
    ABOUT,
    CARD,
    FORMAT,
    KEPT,
    WEIGHTS,
    model_place,
    read_model_files,
)
from cign.models.backbone import Backbone
from cign.models.backbones import load_backbone
from cign.models.fitting import fit, record_of
from cign.models.training_state import inference_state
from cign.unknown.evidence import EvidenceReader
from cign.unknown.rule import UnknownRule


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
            device: As `cign.devices.resolve_device` gives it.

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


def save_model(model: Model, folder: Path, version: int = 1, licence: str | None = None) -> None:
    """Write a MODEL folder; each file is whole or not there, the description comes last.

    Args:
        model: The model.
        folder: A new folder; one that holds a model is changed by `cign.versions.publish`.
        version: Number of the version.
        licence: Of the weights, for the model card; None leaves it open.
    """
    state = {
        name: value.cpu().contiguous() for name, value in inference_state(model.method).items()
    }
    checksums = {WEIGHTS: _write(folder / WEIGHTS, save(state))}
    kept = model.kept
    if kept is not None:
        checksums[KEPT] = _write(folder / KEPT, kept.to_bytes())
    setup = model.method.setup
    write_text(folder / CARD, model_card(model, licence))
    write_json(
        folder / ABOUT,
        {
            "format": FORMAT,
            "version": version,
            "method": METHODS.reference(type(model.method)),
            "options": dataclasses.asdict(model.method.options),
            "classes": [
                {"name": name, "task": task + 1}
                for task, group in enumerate(model.groups)
                for name in group
            ],
            "regime": model.regime,
            "multi_label": setup.multi_label,
            "bf16": setup.bf16,
            "shape": dataclasses.asdict(setup.shape),
            "backbone": {
                "name": model.backbone,
                "fingerprint": model.fingerprint,
                # Trained encoders lie in the weights; their networks are built from this.
                "record": None if setup.backbone is None else record_of(setup.backbone),
            },
            "preprocessing": dataclasses.asdict(model.spec),
            "unknown_threshold": model.unknown_threshold,
            "unknown": model.unknown.to_dict(),
            "results": model.results,
            "versions": model.versions,
            "changes": list(model.changes),
            "kept": None
            if kept is None
            else {
                "num_clips": kept.num_clips,
                "bytes": kept.num_bytes,
                "labels": [list(names) for names in kept.labels],
            },
            "checksums": checksums,
        },
    )
    if kept is None:
        (folder / KEPT).unlink(missing_ok=True)  # of a model that was here before


def _write(path: Path, data: bytes) -> str:
    """Write a file and give its checksum."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load_model(folder: Path) -> Model:
    """Read a MODEL folder, the ``model`` folder of a RUN, or a model on a hub (`cign.hub`).

    Raises:
        InputError: If it is missing, damaged, changed or of a newer version.
    """
    named, folder = folder, model_place(local_place(folder))
    about, files = read_model_files(folder)
    if hub_name(named) is not None:
        check_backbone(about["backbone"], f"model {named}")
    try:
        return _built(folder, about, files)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"model {folder}: {ABOUT} is damaged ({reason}); restore the folder"
        ) from None


def _built(folder: Path, about: dict[str, Any], files: dict[str, bytes]) -> Model:
    """The model that a description and its guarded files stand for."""
    weights = folder / WEIGHTS
    try:
        state = load(files[WEIGHTS])
    except SafetensorError as error:
        raise InputError(f"{weights} cannot be read ({error}): restore the folder") from None
    method = build_method(about, state, f"model {folder}", str(weights))
    kept = None
    if about.get("kept") is not None and KEPT in files:
        kept = KeptClips.from_bytes(files[KEPT], about["kept"]["labels"], str(folder / KEPT))
        kept.check_fits(method.setup.shape, str(folder / KEPT))
    return Model(
        method=method.eval().requires_grad_(False),
        groups=tuple(tuple(group) for group in groups_of(about)),
        regime=about["regime"],
        backbone=about["backbone"]["name"],
        fingerprint=about["backbone"]["fingerprint"],
        spec=MediaSpec(**about["preprocessing"]),
        unknown=_unknown_rule(about, method, f"model {folder}"),
        results=about["results"],
        versions=about["versions"],
        kept=kept,
        changes=tuple(about.get("changes", ())),
    )


def _unknown_rule(about: dict[str, Any], method: Method, where: str) -> UnknownRule:
    """The rule of a model; those of earlier versions have a threshold of `max_probability`.

    Raises:
        InputError: If its score is none that the method gives the evidence for.
    """
    if "unknown" in about:
        return UnknownRule.from_dict(about["unknown"], EvidenceReader(method), where)
    threshold = about["unknown_threshold"]
    return UnknownRule(thresholds={} if threshold is None else dict.fromkeys(READINGS, threshold))
