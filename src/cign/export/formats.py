"""The two file formats: write a traced network, and run the written file.

Modules of the extra ``export`` are large and are imported only when needed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cign.errors import InputError, RunError, one_of
from cign.export.predictor import INPUTS, OUTPUTS
from cign.export.tracing import Traced, quiet

FORMATS = ("onnx", "torch", "both")
FILES = {"onnx": "predictor.onnx", "torch": "predictor.pt2"}
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_OPSET = 20  # the first with GELU
# Protocol buffers, which ONNX uses, are limited to 2 GB; larger weights go to a separate file.
_MOST_BYTES = 1_900_000_000
Runner = Callable[[NDArray[np.float32], NDArray[np.uint8]], dict[str, NDArray[np.float32]]]


def kinds_of(format: str) -> tuple[str, ...]:
    """The kinds of file of a format.

    Raises:
        InputError: If the format is unknown, or the packages that it needs are not installed.
    """
    if format not in FORMATS:
        raise one_of(format, FORMATS, "format")
    kinds = ("onnx", "torch") if format == "both" else (format,)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if "onnx" in kinds and missing:
        raise InputError(
            "missing-package",
            f"export to ONNX needs {', '.join(missing)}: `pip install {' '.join(missing)}`, or use "
            "--format torch",
        )
    return kinds


def write(kind: str, traced: Traced, folder: Path) -> None:
    """Write a traced network into a folder."""
    path = folder / FILES[kind]
    with quiet():
        if kind == "torch":
            torch.export.save(traced.program, path)
            return
        try:
            converted: Any = torch.onnx.export(
                traced.program,
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=INPUTS,
                output_names=OUTPUTS,
            )
        except ImportError as error:
            raise InputError(
                "missing-package",
                f"the installed onnxscript does not fit this PyTorch ({error}): "
                "`pip install --upgrade onnx onnxscript onnxruntime`, or use --format torch",
            ) from None
        except Exception as error:  # a conversion may fail in any way
            raise InputError(
                "unsupported",
                f"this model cannot be converted to ONNX ({type(error).__name__}): use --format "
                "torch, or `cign predict`",
            ) from None
        _name_sizes(converted.model.graph)
        numbers = (value.nbytes for value in traced.program.state_dict.values())
        converted.save(path, external_data=sum(numbers) > _MOST_BYTES)


def _name_sizes(graph: Any) -> None:
    """Name the variable dimensions of inputs and outputs."""
    names = {"waveform": ("batch", "samples"), "frames": ("batch", "frames")}
    for value in (*graph.inputs, *graph.outputs):
        for i, name in enumerate(names.get(value.name, ("batch",))):
            if not isinstance(value.shape[i], int):
                value.shape[i] = name


def runner(kind: str, folder: Path) -> Runner:
    """Load a written file as a function from waveform and frames to `OUTPUTS`."""
    path = folder / FILES[kind]
    return _onnx_runner(path) if kind == "onnx" else _torch_runner(path)


def _onnx_runner(path: Path) -> Runner:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(waveform: NDArray[np.float32], frames: NDArray[np.uint8]) -> dict[str, Any]:
        given = dict(zip(INPUTS, (waveform, frames), strict=True))
        try:
            values = session.run(list(OUTPUTS), given)
        except Exception as error:  # exceptions of the runtime have no common base class
            reason = " ".join(str(error).split())[:160]
            raise RunError(
                "export-differs",
                f"{path.name} does not run ({reason}): nothing was written; use --format torch, "
                "or `cign predict`",
            ) from None
        return dict(zip(OUTPUTS, values, strict=True))

    return run


def _torch_runner(path: Path) -> Runner:
    with quiet():
        network = torch.export.load(path).module()

    def run(waveform: NDArray[np.float32], frames: NDArray[np.uint8]) -> dict[str, Any]:
        with torch.no_grad():
            values = network(torch.from_numpy(waveform), torch.from_numpy(frames))
        return {name: part.numpy() for name, part in zip(OUTPUTS, values, strict=True)}

    return run
