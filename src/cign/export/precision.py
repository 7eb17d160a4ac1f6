"""Smaller variants of an exported ONNX file: weights in half precision, or encoders in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cign.data.media.decode import Decoded
from cign.errors import InputError, one_of
from cign.export.checking import inputs_of
from cign.export.tracing import quiet

FP32, FP16, INT8 = "fp32", "fp16", "int8"
PRECISIONS = (FP32, FP16, INT8)
_SMALLEST_BYTES = 4096  # of a weight that is worth storing in half precision
_MOST_ROUNDING = 1e-3  # relative; half precision has 2^-11 where no value is subnormal
_CALIBRATED_TOGETHER = 8


def check_precision(precision: str, format: str) -> None:
    """Raise an error if a precision is unknown, or not available in a format.

    Raises:
        InputError: If it cannot be written.
    """
    if precision not in PRECISIONS:
        raise one_of(precision, PRECISIONS, "precision")
    if precision != FP32 and format != "onnx":
        raise InputError(
            "conflicting-options",
            f"--precision {precision} is available in ONNX only: use --format onnx, or --precision "
            "fp32",
        )


def reduce(path: Path, precision: str, network: nn.Module, clips: Sequence[Decoded]) -> None:
    """Replace an ONNX file in float32 by a smaller variant.

    Args:
        path: The file.
        precision: ``fp16``, or ``int8``, which stores the weights outside the encoders as ``fp16``.
        network: The network that was exported.
        clips: Clips that set the ranges of activations, for ``int8``.

    Raises:
        InputError: If ``int8`` finds no convolution or linear layer in the encoders.
    """
    if precision == FP16:
        _halve_weights(path)
    else:
        _quantize(path, network, clips)
        _halve_weights(path)


def _halve_weights(path: Path) -> None:
    """Store large weights in float16, followed by a cast that runtimes evaluate when they load.

    Computing in float16 would be slower on most CPUs, which convert each operand, and the sums of
    closed-form methods need float32.
    """
    import onnx

    model = onnx.load(path)
    # Runtimes recognise quantized layers by constant scales.
    scales = {
        node.input[1]
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    }
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or weight.name in scales:
            continue
        if len(weight.raw_data) < _SMALLEST_BYTES:
            continue
        values = onnx.numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        error = np.linalg.norm(values.astype(np.float64) - rounded)
        if not error <= _MOST_ROUNDING * np.linalg.norm(values.astype(np.float64)):
            continue  # it overflows, or most values are subnormal
        name = weight.name
        half = onnx.numpy_helper.from_array(rounded, f"{name}.float16")
        weight.CopyFrom(half)
        casts.append(
            onnx.helper.make_node(
                "Cast", [half.name], [name], name=f"{name}.float32", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _save(model, path)


def _quantize(path: Path, network: nn.Module, clips: Sequence[Decoded]) -> None:
    """Quantize the layers of the encoders: weights by channel, activations by measured ranges."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(path)
    layers = list(encoder_layers(model, network))
    if not layers:
        raise InputError(
            "unsupported",
            "--precision int8 quantizes convolutions and linear layers of encoders, and this model "
            "has none: use --precision fp16",
        )
    add_pre_process_metadata(model)  # no warning: torch has already simplified the graph
    with quiet():
        quantize_static(
            model,
            path,
            _Calibration(clips),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=layers,
            per_channel=True,
            # Weights of 7 bits: processors without VNNI add products in 16 bits, which would
            # saturate and give other results than on the machine of the check.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=path.with_name(f"{path.name}.data").exists(),
        )


def encoder_layers(model: Any, network: nn.Module) -> Iterator[str]:
    """Names of the nodes to quantize: layers of the encoders, and the activations that follow.

    The method's own layers stay in float32, and so do the transforms of the spectrogram, whose
    values differ by many orders of magnitude.

    Args:
        model: The ONNX model, whose nodes know their module.
        network: The exported network.
    """
    modules = dict(network.named_modules())
    constants = {weight.name for weight in model.graph.initializer}
    outputs: set[str] = set()  # of convolutions
    for node in model.graph.node:
        if node.op_type in _ACTIVATIONS and node.input[0] in outputs:
            # Quantized after the activation: the range before it is wider, and would be wasted.
            yield node.name
        if node.op_type not in _LAYERS or node.input[1] not in constants:
            continue
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get(_SCOPES, "[]")
        names = [name.strip(" '\"") for name in scopes.strip("[]").split(",")]
        name = next((name for name in reversed(names) if name in modules), "")
        if "backbone" in name.split(".") and isinstance(
            getattr(modules[name], "weight", None), nn.Parameter
        ):
            outputs.update(node.output)
            yield node.name


_LAYERS, _ACTIVATIONS = ("Conv", "MatMul", "Gemm"), ("Clip", "Relu")
_SCOPES = "pkg.torch.onnx.name_scopes"


class _Calibration:
    """Gives clips to the quantization, a few at a time."""

    def __init__(self, clips: Sequence[Decoded]) -> None:
        self._batches = (
            clips[start : start + _CALIBRATED_TOGETHER]
            for start in range(0, len(clips), _CALIBRATED_TOGETHER)
        )

    def get_next(self) -> dict[str, Any] | None:
        """The inputs of the next clips; None after the last ones."""
        some = next(self._batches, None)
        return None if some is None else inputs_of(some)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.get_next, None)


def _save(model: Any, path: Path) -> None:
    import onnx

    external = path.with_name(f"{path.name}.data")
    if not external.exists():
        onnx.save(model, path)
        return
    external.unlink()
    onnx.save(model, path, save_as_external_data=True, location=external.name)
