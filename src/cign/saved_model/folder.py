"""The MODEL folder: weights, description with checksums, model card."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from cign.backbones.fitting import record_of
from cign.data.media.decode import MediaSpec
from cign.errors import InputError, reason_of
from cign.methods import METHODS
from cign.methods.base import Method
from cign.methods.capabilities import (
    fix_settings,
    fixed_settings,
    num_background,
    selected_settings,
)
from cign.networks.training_state import inference_state
from cign.networks.triangles import packed, unpacked
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule
from cign.saved_model.build import build_method, groups_of
from cign.saved_model.card import model_card
from cign.saved_model.class_thresholds import ClassThresholds
from cign.saved_model.files import (
    ABOUT,
    CARD,
    FORMAT,
    KEPT,
    WEIGHTS,
    model_place,
    read_model_files,
)
from cign.saved_model.hub import check_backbone, hub_name, local_place
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips
from cign.training.arrival import ArrivalEstimate
from cign.utils.files import replacing, write_json, write_text
from cign.vocabulary import MODALITIES


def save_model(model: Model, folder: Path, licence: str | None = None) -> None:
    """Write a MODEL folder; each file is written atomically, model.json last.

    Args:
        model: The model.
        folder: A new folder; `cign.saved_model.versions.publish` updates an existing model.
        licence: Licence of the weights for the model card; None for not stated.
    """
    state = {
        name: value.cpu().contiguous() for name, value in inference_state(model.method).items()
    }
    checksums = {WEIGHTS: _write(folder / WEIGHTS, save(packed(state)))}
    kept = model.kept
    if kept is not None:
        checksums[KEPT] = _write(folder / KEPT, kept.to_bytes())
    setup = model.method.setup
    write_text(folder / CARD, model_card(model, licence))
    write_json(
        folder / ABOUT,
        {
            "format": FORMAT,
            "method": METHODS.reference(type(model.method)),
            "options": dataclasses.asdict(model.method.options),
            "selected": selected_settings(model.method),
            "fixed": list(fixed_settings(model.method)),
            "classes": [
                {"name": name, "task": task + 1}
                for task, group in enumerate(model.groups)
                for name in group
            ],
            **({"background": number} if (number := num_background(model.method)) else {}),
            "regime": model.regime,
            "multi_label": setup.multi_label,
            "bf16": setup.bf16,
            "shape": dataclasses.asdict(setup.shape),
            "backbone": {
                "name": model.backbone,
                "fingerprint": model.fingerprint,
                # Trained encoders are among the weights; their networks are built from this.
                "record": None if setup.backbone is None else record_of(setup.backbone),
            },
            "preprocessing": None if model.spec is None else model.spec.to_dict(),
            "unknown_threshold": model.unknown_threshold,
            "unknown": model.unknown.to_dict(),
            "results": model.results,
            "versions": model.versions,
            "changes": list(model.changes),
            "leave_one_out": [one.to_dict() for one in model.estimates],
            "thresholds": None if model.thresholds is None else model.thresholds.to_dict(),
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
        (folder / KEPT).unlink(missing_ok=True)  # left by a previous model


def _write(path: Path, data: bytes) -> str:
    """Write a file and return its checksum."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load_model(folder: Path) -> Model:
    """Read a MODEL folder, the ``model`` folder of a RUN, or a model on a hub.

    Raises:
        InputError: If it is missing, damaged, changed or of a newer version.
    """
    named, folder = folder, model_place(local_place(folder))
    folder, about, files = read_model_files(folder)
    if hub_name(named) is not None:
        check_backbone(about["backbone"], f"model {named}")
    try:
        return _built(folder, about, files)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = reason_of(error)
        raise InputError(
            "damaged", f"model {folder}: {ABOUT} is damaged ({reason}); restore the folder"
        ) from None


def _built(folder: Path, about: dict[str, Any], files: dict[str, bytes]) -> Model:
    """Build the model from its description and its checked files."""
    weights = folder / WEIGHTS
    try:
        state = unpacked(load(files[WEIGHTS]))
    except SafetensorError as error:
        raise InputError(
            "damaged", f"{weights} cannot be read ({error}): restore the folder"
        ) from None
    method = build_method(about, state, f"model {folder}", str(weights))
    fix_settings(method, about.get("fixed", ()))
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
        spec=None if about["preprocessing"] is None else MediaSpec(**about["preprocessing"]),
        unknown=_unknown_rule(about, method, f"model {folder}"),
        results=about["results"],
        versions=about["versions"],
        kept=kept,
        changes=tuple(about.get("changes", ())),
        estimates=tuple(ArrivalEstimate.from_dict(one) for one in about.get("leave_one_out", ())),
        thresholds=None
        if about.get("thresholds") is None
        else ClassThresholds.from_dict(about["thresholds"]),
    )


def _unknown_rule(about: dict[str, Any], method: Method, where: str) -> UnknownRule:
    """The unknown rule of a model; older formats have only a threshold of `max_probability`.

    Raises:
        InputError: If the method does not provide the evidence for its score.
    """
    if "unknown" in about:
        return UnknownRule.from_dict(about["unknown"], EvidenceReader(method), where)
    threshold = about["unknown_threshold"]
    return UnknownRule(thresholds={} if threshold is None else dict.fromkeys(MODALITIES, threshold))
