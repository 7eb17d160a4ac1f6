"""Checkpoints: one safetensors file with a tree of tensors and plain values.

The tree consists of dicts with string keys, lists, tensors, numbers, strings, booleans and None.
Tensors are stored in the body of the file, everything else as JSON in its header. A checkpoint is
thus a single file that is written atomically and read without unpickling.
"""

from __future__ import annotations

import errno
import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cign.errors import InputError, RunError
from cign.utils.files import replacing

FORMAT_VERSION = 4
_TENSOR = "$tensor"
_NUMBER_KEYS = "$items"
_CHECK = "crc32"  # missing in files of earlier versions


def save_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write a tree atomically.

    Args:
        path: The file; an existing file remains intact until the new one is complete.
        tree: Dicts, lists, tensors and JSON values. Dict keys may be strings or integers.

    Raises:
        RunError: If the disk is full or the folder is not writable.
        TypeError: If the tree contains anything else.
    """
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_flatten(tree, tensors))
    check = _checksum(header, tensors)
    metadata = {"format": str(FORMAT_VERSION), "tree": header, _CHECK: check}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else str(error)
        raise RunError(
            "disk-full",
            f"checkpoint {path} could not be written ({reason}): "
            "earlier checkpoints are intact; free disk space or choose another folder, then resume",
        ) from error


def load_tree(path: Path) -> dict[str, Any]:
    """Read a tree written by `save_tree`; tensors are on the CPU.

    Raises:
        InputError: If the file is missing, damaged or of a newer version.
    """
    if not path.is_file():
        raise InputError(
            "file-missing", f"checkpoint not found: {path} does not exist; check the path"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get(_CHECK, "") not in ("", _checksum(metadata["tree"], tensors)):
            raise ValueError("its content does not match its checksum")
        version, header = int(metadata["format"]), json.loads(metadata["tree"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(
            "damaged",
            f"checkpoint {path} is damaged or of another kind ({error}): "
            "restore it from a copy or run without --resume in a new folder",
        ) from error
    if version > FORMAT_VERSION:
        raise InputError(
            "wrong-version",
            f"checkpoint {path} has format {version}, this version reads up to {FORMAT_VERSION}: "
            "update cign",
        )
    if version < FORMAT_VERSION:
        raise InputError(
            "wrong-version",
            f"checkpoint {path} has format {version} of an earlier version of cign, this one reads "
            f"{FORMAT_VERSION}: run the command again without --resume in a new folder",
        )
    tree = _unflatten(header, tensors)
    assert isinstance(tree, dict)
    return tree


def _checksum(header: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the header and the values of all tensors."""
    check = zlib.crc32(header.encode())
    for name in sorted(tensors):
        check = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, check)
    return f"{check:08x}"


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Replace each tensor by a reference and collect it."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # Copy: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _flatten(item, tensors) for key, item in value.items()}
        assert all(isinstance(key, int) for key in value), "keys are strings or integers"
        return {_NUMBER_KEYS: [[key, _flatten(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_flatten(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}: {value!r}")


def _unflatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Replace references by their tensors."""
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _NUMBER_KEYS in value:
            return {int(key): _unflatten(item, tensors) for key, item in value[_NUMBER_KEYS]}
        return {key: _unflatten(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_unflatten(item, tensors) for item in value]
    return value


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's moments and step counts by parameter position, without hyper-parameters.

    A resumed run takes its hyper-parameters from the configuration.
    """
    state: dict[str, Any] = optimizer.state_dict()["state"]
    return {"state": state}


def load_optimizer_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load moments and step counts into an optimizer over the same parameters."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def load_module(module: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Load a module's state strictly.

    Raises:
        InputError: See `check_state`.
    """
    check_state(module, state, where)
    module.load_state_dict(state)


def check_state(module: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Check that a state matches a module, which may be on the meta device.

    Raises:
        InputError: Naming the first weight that is missing, unexpected or of another shape.
    """
    own = module.state_dict()
    for name in [*own, *state]:
        if name not in state or name not in own:
            problem = "lacks" if name not in state else "has an unknown"
            raise InputError(
                "weights-mismatch",
                f"{where} {problem} weight {name!r}: it was made with another method, "
                "recipe or version; use the one it was made with",
            )
        if own[name].shape != state[name].shape:
            raise InputError(
                "weights-mismatch",
                f"{where}: weight {name!r} has shape {list(state[name].shape)}, "
                f"{list(own[name].shape)} is expected; use the recipe it was made with",
            )
