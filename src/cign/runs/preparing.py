"""Preparing a source with a backbone that is given by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cign.backbones.base import Backbone
from cign.backbones.registry import load_to_prepare
from cign.data.prepare import pipeline
from cign.data.prepare.finishing import PrepareReport
from cign.utils.devices import resolve_device
from cign.utils.progress import Progress


def prepare(
    source: Path | str,
    store: Path | str,
    *,
    backbone: Backbone | str | None,
    format: str | None = None,
    media: Sequence[Path] = (),
    split: str | None = None,
    num_workers: int | None = None,
    device: str | None = None,
    progress: Progress | bool | None = None,
) -> PrepareReport:
    """Decode every clip of a source once, and cache the tokens of a backbone.

    Args:
        source: A folder of class folders, a table, or the lists of a benchmark.
        store: Folder of the store. A store that was prepared from the same source is completed,
            for example with the tokens of another backbone.
        backbone: Name, folder or object; None caches no tokens. ``"lite0+sfx"`` suits real clips
            (by default with 4 x 4 tokens each, see `cign.backbones.registry.load_to_prepare`),
            ``"small"`` suits generated clips only.
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
