"""Preparing a source with a backbone that is given by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from cign.backbones.base import Backbone
from cign.backbones.registry import load_to_prepare
from cign.data.prepare import pipeline
from cign.data.prepare.features import is_feature_source, prepare_features
from cign.data.prepare.finishing import PrepareReport
from cign.errors import InputError
from cign.utils.devices import resolve_device
from cign.utils.progress import Progress


class Missing(Enum):
    """Marks an argument that is not given, where None has a meaning."""

    VALUE = "not given"


def prepare(
    source: Path | str | Mapping[str, Any],
    store: Path | str,
    *,
    backbone: Backbone | str | Missing | None = Missing.VALUE,
    format: str | None = None,
    media: Sequence[Path] = (),
    split: str | None = None,
    num_workers: int | None = None,
    device: str | None = None,
    progress: Progress | bool | None = None,
) -> PrepareReport:
    """Decode every clip of a source once, and cache the tokens of a backbone.

    Args:
        source: A folder of class folders, a table, the lists of a benchmark, or precomputed
            features: a dictionary of arrays, an ``.npz`` file, a folder of arrays or a table, see
            `cign.data.formats.features.source.open_features`.
        store: Folder of the store. A store that was prepared from the same source is completed,
            for example with the tokens of another backbone.
        backbone: Name, folder or object; None caches no tokens. ``"lite0+sfx"`` suits real clips
            (by default with 4 x 4 tokens each, see `cign.backbones.registry.load_to_prepare`),
            ``"small"`` suits generated clips only. For features the name of the encoders that
            computed them, which may be left out, see `cign.data.prepare.features.prepare_features`.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.
        split: See `cign.data.formats.read_source`.
        num_workers: Decoding processes; one for each core if absent, none but this one if 0.
        device: Where the backbone computes; a CUDA GPU if there is one, the CPU otherwise.
        progress: None shows progress in a terminal and a notebook, False shows none.

    Returns:
        What was prepared, and which clips are unreadable, duplicated or odd.

    Raises:
        InputError: If the source is unusable, the backbone is not known, or the folder holds
            something else.
        RunError: If the disk is full.
    """
    if is_feature_source(source, format):
        return _prepare_features(
            source,
            store,
            backbone=None if isinstance(backbone, Missing) else backbone,
            ignored={"num_workers": num_workers, "device": device},
            media=media,
            split=split,
            progress=progress,
        )
    assert not isinstance(source, Mapping)
    if isinstance(backbone, Missing):
        raise InputError(
            "missing-option",
            "backbone is missing: name the encoders that compute the tokens, or give None to cache "
            "no tokens",
        )
    if isinstance(backbone, str):
        backbone = load_to_prepare(backbone)
    if backbone is not None:
        backbone = backbone.to(resolve_device(device))
    return pipeline.prepare(
        source,
        store,
        backbone=backbone,
        format=format,
        media=media,
        split=split,
        num_workers=num_workers,
        progress=progress,
    )


def _prepare_features(
    source: Path | str | Mapping[str, Any],
    folder: Path | str,
    *,
    backbone: Backbone | str | None,
    ignored: Mapping[str, Any],
    **how: Any,
) -> PrepareReport:
    """Prepare features; refuse arguments for clips."""
    if isinstance(backbone, Backbone):
        raise InputError(
            "bad-value",
            "features are not encoded: name their encoders as backbone, or leave it out",
        )
    for name, value in ignored.items():
        if value is not None:
            raise InputError(
                "conflicting-options", f"{name} has no effect on features: leave it out"
            )
    return prepare_features(source, folder, encoders=backbone, **how)
