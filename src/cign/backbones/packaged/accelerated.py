"""Evaluation of frozen convolutional networks on CPUs by onnxruntime, if it is installed.

Both runtimes compute in float32; relative differences of tokens are below `BOUND`, less than those
of rounding to float16, in which tokens are stored. `benchmarks/encoders.py` measures both.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from cign.backbones.packaged.convolutions import LINEAR, RELU, Convolution, Residual

TORCH, ONNXRUNTIME = "torch", "onnxruntime"
PRECISION = "float32"
BOUND = 1e-4  # of ||difference|| / ||tokens|| between runtimes, per token
_OPSET, _IR_VERSION = 17, 10
_enabled = True


def has_onnxruntime() -> bool:
    """Whether the packages that build and run ONNX networks are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


@contextlib.contextmanager
def only_torch() -> Iterator[None]:
    """Use torch for all networks inside."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Compute convolutions on GPUs in float32, not in TensorFloat-32, which keeps 10 bits."""
    convolution = cast(Any, torch.backends.cudnn).conv
    before = convolution.fp32_precision
    convolution.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision = before


class Accelerated(nn.Module):
    """A network that onnxruntime evaluates as long as it has the weights that were loaded.

    torch evaluates it on other devices, in training, while it is traced, under autocast, and after
    its weights have changed.

    Args:
        network: Made of `Convolution`, `Residual`, ``nn.MaxPool2d`` and ``nn.Sequential``.
    """

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._session = _Session()

    def freeze(self) -> None:
        """Declare the present weights final."""
        self._session = _Session(_versions(self.network))

    @property
    def runtime(self) -> str:
        """What evaluates the network on a CPU: ``onnxruntime`` or ``torch``."""
        versions = self._session.versions
        is_frozen = bool(versions) and versions == _versions(self.network)
        on_cpu = all(weight.device.type == "cpu" for weight in self.network.parameters())
        ready = _enabled and not self.training and is_frozen and on_cpu and has_onnxruntime()
        return ONNXRUNTIME if ready else TORCH

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to the output map of the network, [B, D, rows, columns]."""
        if self._fits(x) and self.runtime == ONNXRUNTIME:
            return self._session.run(self.network, x)
        x = x.contiguous(memory_format=torch.channels_last)
        plain = self.training or torch.compiler.is_compiling()
        with contextlib.nullcontext() if plain else full_float32():
            out: Tensor = self.network(x)
        return out

    def _fits(self, x: Tensor) -> bool:
        """Whether the input is a plain tensor that needs no gradient."""
        if torch.compiler.is_compiling() or type(x) is not Tensor or x.device.type != "cpu":
            return False
        needs_gradient = torch.is_grad_enabled() and (
            x.requires_grad or any(w.requires_grad for w in self.network.parameters())
        )
        return not needs_gradient and not torch.is_autocast_enabled("cpu")


def _versions(network: nn.Module) -> tuple[int, ...]:
    """Identity and number of changes of each weight; () if torch does not count changes."""
    weights = list(network.parameters())
    if any(weight.is_inference() for weight in weights):
        return ()
    return tuple(number for weight in weights for number in (id(weight), weight._version))


class _Session:
    """An onnxruntime session, made when it is first used; copies of a network make their own."""

    def __init__(self, versions: tuple[int, ...] | None = None) -> None:
        self.versions = versions
        self._session: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Session:
        return _Session()

    def __reduce__(self) -> tuple[type[_Session], tuple[()]]:
        return _Session, ()

    def run(self, network: nn.Module, x: Tensor) -> Tensor:
        """Evaluate the network."""
        if self._session is None:
            self._session = open_session(onnx_bytes(network, x.shape[1]))
        out = self._session.run(None, {"x": x.detach().contiguous().numpy()})[0]
        return torch.from_numpy(out)


def open_session(model: bytes | str) -> Any:
    """Open an ONNX network for the CPU, with as many threads as torch has.

    Args:
        model: The serialised network, or the path of its file.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Waiting threads would compete with those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_bytes(network: nn.Module, in_channels: int) -> bytes:
    """Write a network as ONNX, with variable batch size and input size."""
    import onnx
    from onnx import TensorProto, helper

    nodes: list[Any] = []
    weights: list[Any] = []

    def add(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(name: str, tensor: Tensor) -> str:
        weights.append(onnx.numpy_helper.from_array(tensor.detach().contiguous().numpy(), name))
        return name

    def write(module: nn.Module, x: str) -> str:
        if isinstance(module, nn.Sequential):
            for layer in module:
                x = write(layer, x)
            return x
        if isinstance(module, Residual):
            return add("Add", [x, write(module.layers, x)])
        if isinstance(module, nn.MaxPool2d):
            side = module.kernel_size
            return add("MaxPool", [x], kernel_shape=[side, side], strides=[side, side])
        assert isinstance(module, Convolution)
        number, (before, after) = len(weights), module.padding
        x = add(
            "Conv",
            [x, weight(f"w{number}", module.weight), weight(f"b{number}", module.bias)],
            kernel_shape=[module.kernel] * 2,
            strides=[module.stride] * 2,
            pads=[before, before, after, after],
            group=module.groups,
        )
        if module.activation == LINEAR:
            return x
        return add("Relu", [x]) if module.activation == RELU else add("Clip", [x, "zero", "six"])

    weights += [
        onnx.numpy_helper.from_array(torch.tensor(value).numpy(), name)
        for name, value in (("zero", 0.0), ("six", 6.0))
    ]
    out = write(network, "x")
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", in_channels, "h", "w"])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["b", "d", "rows", "columns"])],
        weights,
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString())
