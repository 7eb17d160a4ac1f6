"""Encoders of the user's own: a folder with a network in ONNX and its description.

``encoder.json`` describes the file:

- ``modality``: ``visual`` or ``audio``,
- ``file``: name of the network in the folder,
- ``input``: ``name``, ``layout`` (``NCHW`` or ``NHWC`` for images, ``NL`` or ``NCL`` for samples);
  for images ``size_px``, ``mean`` and ``std`` of pixels in [0, 1]; for audio ``rate_hz``,
  ``window_s`` and ``spectrogram``, which is ``none``: the network takes samples in [-1, 1],
- ``output``: ``name``, ``layout`` (``N``, ``C`` and of the grid ``H`` and ``W``, or ``F`` and
  ``T``, in any order; a letter that is left out has size 1) and ``shape``, without ``N``.

Legend: B clips, K frames per clip, P input size, L samples, D width.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cign.backbones.hub.audio import MOST_SAMPLES, AudioEncoder
from cign.backbones.hub.loading import ONNX_AUDIO, ONNX_VISUAL, Source
from cign.backbones.hub.visual import ImageInput, VisualEncoder
from cign.backbones.packaged.accelerated import open_session
from cign.errors import InputError, one_of
from cign.utils.files import read_json

ABOUT = "encoder.json"
_KINDS = {"visual": ONNX_VISUAL, "audio": ONNX_AUDIO}
_INPUTS = {"visual": ("NCHW", "NHWC"), "audio": ("NL", "NCL")}
_GRIDS = {"visual": ("H", "W"), "audio": ("F", "T")}
_KEYS = {
    "": {"modality", "file", "input", "output"},
    "visual": {"name", "layout", "size_px", "mean", "std"},
    "audio": {"name", "layout", "rate_hz", "window_s", "spectrogram"},
    "output": {"name", "layout", "shape"},
}
_MOST_PX = 4096


def onnx_source(folder: Path) -> Source:
    """Read and check the description of an encoder.

    Raises:
        InputError: If it is incomplete or invalid, or the file of the network is missing.
    """
    about = read_json(folder / ABOUT, "description of an encoder")
    path = folder / ABOUT
    modality = about.get("modality")
    if modality not in _KINDS:
        raise one_of(str(modality), tuple(_KINDS), f"modality in {path}")
    for part, keys in (("", _KEYS[""]), ("input", _KEYS[modality]), ("output", _KEYS["output"])):
        entries = about[part] if part else about
        if not isinstance(entries, dict) or set(entries) != keys:
            raise InputError(
                "bad-value",
                f"{path}: {part or 'the file'} must have exactly the entries "
                f"{', '.join(sorted(keys))}, see docs/backbones.md",
            )
    _check(about, modality, path)
    file = folder / about["file"]
    if Path(about["file"]).name != about["file"] or not file.is_file():
        raise InputError(
            "file-missing", f"{path} names the file {about['file']!r}, which is not in its folder"
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    config = {"model_type": _KINDS[modality], "encoder": about, "sha256": digest}
    return Source(name=str(folder), config=config, preprocessing={})


def _check(about: dict[str, Any], modality: str, path: Path) -> None:
    """Check layouts, sizes and constants.

    Raises:
        InputError: Names the entry, and what is allowed.
    """
    how, out = about["input"], about["output"]
    if how["layout"] not in _INPUTS[modality]:
        raise one_of(str(how["layout"]), _INPUTS[modality], f"input layout in {path}")
    layout, shape = str(out["layout"]), out["shape"]
    grid = "".join(_GRIDS[modality])
    letters = set(layout)
    if (
        layout[:1] != "N"
        or len(letters) != len(layout)
        or not {"N", "C"} <= letters <= set("NC" + grid)
    ):
        raise InputError(
            "bad-value",
            f"{path}: output layout {layout!r} is invalid: N first, then C and, of {grid}, "
            f"what the output has, for example NC{grid}",
        )
    sizes = shape if isinstance(shape, list) else []
    if len(sizes) != len(layout) - 1 or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise InputError(
            "bad-value",
            f"{path}: output shape must list the {len(layout) - 1} sizes of {layout[1:]}, which "
            "are positive whole numbers",
        )
    if modality == "visual":
        size = how["size_px"]
        good = isinstance(size, int) and 16 <= size <= _MOST_PX
        good = good and all(_three_numbers(how[key]) for key in ("mean", "std"))
        if not good or min(how["std"]) <= 0:
            raise InputError(
                "bad-value",
                f"{path}: input needs size_px from 16 to {_MOST_PX}, and three numbers each for "
                "mean and std, which is positive",
            )
        return
    numbers = [how["rate_hz"], how["window_s"]]
    good = all(isinstance(n, int | float) and math.isfinite(n) and n > 0 for n in numbers)
    if how["spectrogram"] != "none":
        raise one_of(str(how["spectrogram"]), ("none",), f"spectrogram in {path}")
    if not good or how["rate_hz"] != int(how["rate_hz"]) or math.prod(numbers) > MOST_SAMPLES:
        raise InputError(
            "bad-value",
            f"{path}: input needs a whole rate_hz and a window_s, positive and together at most "
            f"{MOST_SAMPLES} samples",
        )


def _three_numbers(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(n, int | float) and math.isfinite(n) for n in values)
    )


class OnnxNetwork(nn.Module):
    """A network that onnxruntime evaluates on the CPU; it cannot be trained.

    Args:
        source: Source with the description of the network.

    Raises:
        InputError: If onnxruntime is not installed, or cannot open the file.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.name, about = source.name, source.config["encoder"]
        modality = about["modality"]
        self._input, self._output = about["input"]["name"], about["output"]["name"]
        self.layout, self.shape = str(about["output"]["layout"]), list(about["output"]["shape"])
        sizes = dict(zip(self.layout[1:], self.shape, strict=True))
        first, second = _GRIDS[modality]
        self.dim, self.grid = sizes["C"], (sizes.get(first, 1), sizes.get(second, 1))
        self._order = [self.layout.index(x) for x in f"N{first}{second}C" if x in self.layout]
        if importlib.util.find_spec("onnxruntime") is None:
            raise InputError(
                "missing-package",
                f"backbone {self.name!r} is a network in ONNX, and onnxruntime is not installed: "
                "`pip install onnxruntime`",
            )
        path = Path(source.name) / about["file"]
        try:
            self._session = open_session(str(path))
        except Exception as error:  # onnxruntime has many kinds of errors
            raise InputError(
                "missing-weights",
                f"{path} cannot be opened by onnxruntime ({_line(error)}): write it again",
            ) from None

    def __deepcopy__(self, memo: Mapping[int, Any]) -> OnnxNetwork:
        return self  # it never changes

    def train(self, mode: bool = True) -> OnnxNetwork:
        """See ``nn.Module``.

        Raises:
            InputError: If it is to be trained.
        """
        if mode:
            raise InputError(
                "unsupported",
                f"backbone {self.name!r} is a network in ONNX, which cannot be trained: leave out "
                "--regime end-to-end",
            )
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Map an input in the layout of the network to tokens [B, rows * columns, D].

        Raises:
            InputError: If the network fails, or its output has another shape than declared.
        """
        if torch.compiler.is_compiling() or type(x) is not Tensor:
            raise InputError(
                "unsupported",
                f"backbone {self.name!r} is a network in ONNX, which torch cannot trace",
            )
        values = np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32)
        try:
            out: NDArray[Any] = self._session.run([self._output], {self._input: values})[0]
        except Exception as error:
            raise InputError(
                "bad-value",
                f"backbone {self.name!r} cannot process an input of shape "
                f"{list(values.shape)} ({_line(error)}): correct its {ABOUT}",
            ) from None
        expected = [len(values), *self.shape]
        if list(out.shape) != expected:
            raise InputError(
                "bad-value",
                f"backbone {self.name!r} returns an output of shape {list(out.shape)} for "
                f"{len(values)} inputs, but its {ABOUT} declares {expected}: correct output.shape",
            )
        tokens = torch.from_numpy(np.ascontiguousarray(out.transpose(self._order)))
        return tokens.float().reshape(len(values), -1, self.dim).to(x.device)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


class OnnxVisual(VisualEncoder):
    """A visual encoder of the user's own.

    Args:
        source: Source with its description.

    Raises:
        InputError: See `OnnxNetwork`.
    """

    def __init__(self, source: Source) -> None:
        how = source.config["encoder"]["input"]
        size = how["size_px"]
        network = OnnxNetwork(source)
        super().__init__(
            source,
            network,
            ImageInput(
                mean=tuple(how["mean"]), std=tuple(how["std"]), resize_px=size, input_px=size
            ),
            dim=network.dim,
            grid=network.grid,
        )
        self.is_nhwc = how["layout"] == "NHWC"
        self.tokens(
            torch.zeros(1, 1, 3, size, size)
        )  # checks its output before any clip is decoded

    @property
    def settings(self) -> dict[str, Any]:
        """See `VisualEncoder`; with the hash of the network."""
        return {**super().settings, **self.source.config}

    def tokens(self, x: Tensor) -> Tensor:
        """See `VisualEncoder`."""
        flat = x.flatten(0, 1)
        tokens: Tensor = self.network(flat.permute(0, 2, 3, 1) if self.is_nhwc else flat)
        return tokens.unflatten(0, (x.shape[0], -1)).flatten(1, 2)


class OnnxAudio(AudioEncoder):
    """An audio encoder of the user's own, for windows of one length.

    Args:
        source: Source with its description.

    Raises:
        InputError: See `OnnxNetwork`.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        how = source.config["encoder"]["input"]
        network = OnnxNetwork(source)
        self.source, self.network, self.dim, self._grid = source, network, network.dim, network.grid
        self.rate_hz, self.window_s = int(how["rate_hz"]), float(how["window_s"])
        self.longest_s, self.num_samples = self.window_s, round(self.rate_hz * self.window_s)
        self.has_channel = how["layout"] == "NCL"
        self.settings = dict(source.config)
        self.tokens(self.to_input(torch.zeros(1, self.num_samples)), self.num_samples)

    def grid(self, num_samples: int) -> tuple[int, int]:
        """See `AudioEncoder`.

        Raises:
            InputError: If the window has another length than that of the network.
        """
        if num_samples != self.num_samples:
            raise InputError(
                "conflicting-options",
                f"backbone {self.source.name!r} takes {self.window_s:g} s of audio, not "
                f"{num_samples / self.rate_hz:g}: use a preset with that window or none, and a new "
                "store folder",
            )
        return self._grid

    def to_input(self, waveform: Tensor) -> Tensor:
        """See `AudioEncoder`; shape [B, L] or [B, 1, L]."""
        return waveform.unsqueeze(1) if self.has_channel else waveform

    def tokens(self, features: Tensor, num_samples: int) -> Tensor:
        """See `AudioEncoder`."""
        tokens: Tensor = self.network(features)
        return tokens
