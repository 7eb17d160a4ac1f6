"""Clips as arrays in the format .npz of numpy: waveform and frames, or features.

An .npz file is a zip archive, so its content is checked before anything is unpacked or allocated.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cign.data.media.array_clip import ArrayClip
from cign.errors import InputError, reason_of

_CLIP = ("audio", "rate_hz", "frames", "frame_rate_hz")
_FEATURES = ("audio_features", "visual_features")
_HEADER_BYTES = 2**12
_KINDS = "fiu"

Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path, max_bytes: int) -> Arrays:
    """Read the arrays of an .npz file.

    Args:
        path: The file.
        max_bytes: Largest size of all arrays together, unpacked.

    Raises:
        InputError: If it is damaged or too large, or has other arrays than those of a clip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [one.filename.removesuffix(".npy") for one in members]
            _check_names(names)
            total = sum(one.file_size for one in members)
            if total > max_bytes + _HEADER_BYTES * len(members):
                raise InputError(
                    "bad-clip",
                    f"the arrays have {total:,} bytes unpacked; {max_bytes:,} are accepted: send "
                    "shorter or smaller ones",
                )
            return {
                name: _read(archive, one, name) for name, one in zip(names, members, strict=True)
            }
    except InputError:
        raise
    except Exception as error:  # zipfile and numpy raise many types for crafted files
        raise _damaged(reason_of(error)) from None


def _check_names(names: list[str]) -> None:
    known = set(_CLIP), set(_FEATURES)
    if len(set(names)) == len(names) and names and any(set(names) <= some for some in known):
        return
    shown = ", ".join(repr(name[:40]) for name in names[:8]) or "none"
    raise InputError(
        "bad-clip",
        f"the arrays are {shown}: send audio with rate_hz, frames, or both (frame_rate_hz is "
        "optional); or audio_features and visual_features",
    )


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    """One array; its header is compared with its size before it is allocated."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version == (1, 0):
            read_header = npy.read_array_header_1_0
        elif version == (2, 0):
            read_header = npy.read_array_header_2_0
        else:
            raise _damaged(f"{name} has version {version} of the format")
        shape, fortran, dtype = read_header(file, max_header_size=_HEADER_BYTES)
        if dtype.hasobject or dtype.kind not in _KINDS:
            raise _damaged(f"{name} has values of type {dtype}, not numbers")
        number = math.prod(shape)
        if min((0, *shape)) < 0 or number * dtype.itemsize > member.file_size:
            raise _damaged(f"{name} is shorter than its shape {list(shape)}")
        data = file.read(number * dtype.itemsize)
        if len(data) != number * dtype.itemsize:
            raise _damaged(f"{name} is truncated")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def is_of_features(arrays: Arrays) -> bool:
    """Whether the arrays are features."""
    return _FEATURES[0] in arrays or _FEATURES[1] in arrays


def features_of(arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
    """The audio and visual features.

    Raises:
        InputError: If one of them is missing.
    """
    if len(arrays) < len(_FEATURES):
        raise InputError(
            "bad-clip",
            "one of audio_features and visual_features is missing: send both, with zeros for a "
            "modality that the clips lack",
        )
    return arrays[_FEATURES[0]], arrays[_FEATURES[1]]


def clip_of(arrays: Arrays) -> ArrayClip:
    """The arrays as a clip.

    Raises:
        InputError: If a shape or a value is invalid.
    """
    rates: dict[str, float | None] = {}
    for name in ("rate_hz", "frame_rate_hz"):
        value = arrays.get(name)
        if value is not None and value.size != 1:
            raise InputError("bad-clip", f"{name} has {value.size} values: send one number")
        rates[name] = None if value is None else float(value.reshape(()))
    return ArrayClip(
        audio=arrays.get("audio"),
        rate_hz=rates["rate_hz"],
        frames=arrays.get("frames"),
        frame_rate_hz=rates["frame_rate_hz"],
    )


def _damaged(reason: str) -> InputError:
    return InputError(
        "bad-clip", f"the body is not an .npz file of arrays ({reason}): write it with numpy.savez"
    )
