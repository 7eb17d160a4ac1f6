"""Trace a network with torch.export: any number of clips, and any length if possible."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from cign.data.media.decode import MediaSpec
from cign.errors import InputError, reason_of
from cign.export.predictor import Predictor, example


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A traced network.

    Attributes:
        program: Result of torch.export.
        any_length: Whether it accepts waveforms of other lengths than the window's.
        any_frames: Whether it accepts other numbers of frames.
    """

    program: ExportedProgram
    any_length: bool
    any_frames: bool


def trace(network: Predictor, spec: MediaSpec, method: str) -> Traced:
    """Trace a network.

    Args:
        network: Network in evaluation mode.
        spec: Specification of its clips.
        method: Name of the method, for the error message.

    Raises:
        InputError: If it cannot be traced with a variable number of clips.
    """
    any_length = _takes(network, spec, num_samples=spec.num_samples * 5 // 8)
    any_frames = _takes(network, spec, num_frames=spec.num_frames + 1)
    # Tracing treats a size of one as a constant, so at least two frames are used.
    inputs = example(spec, num_frames=max(2, spec.num_frames) if any_frames else 0)
    auto, fixed = Dim.AUTO(min=1), Dim.STATIC
    shapes = (
        {0: auto, 1: Dim.AUTO if any_length else fixed},
        {0: auto, 1: auto if any_frames else fixed},
    )
    reason = "it depends on the number of clips"
    for strict in (False, True):
        # Only a strict trace keeps the length of a tensor taken by `len` variable.
        try:
            with quiet(), torch.no_grad():
                program = torch.export.export(network, inputs, dynamic_shapes=shapes, strict=strict)
        except Exception as error:  # the traced code may raise any exception
            reason = reason_of(error)[:200]
            continue
        variable = _variable(program)
        if variable[0][0] and variable[1][0]:
            return Traced(program=program, any_length=variable[0][1], any_frames=variable[1][1])
    raise InputError(
        "unsupported",
        f"a model of method {method} cannot be exported ({reason}): use `cign predict`, or train "
        "a method that supports export (see docs/methods)",
    )


def _takes(network: Predictor, spec: MediaSpec, **form: int) -> bool:
    """Whether the network accepts inputs of a different size."""
    try:
        with torch.no_grad():
            network(*example(spec, num_clips=1, **form))
    except (RuntimeError, ValueError, IndexError, InputError):
        return False
    return True


def _variable(program: ExportedProgram) -> list[list[bool]]:
    """Which dimensions of each input are not fixed."""
    names = program.graph_signature.user_inputs
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    shapes: list[Any] = [nodes[str(name)].meta["val"].shape for name in names]
    return [[_is_variable(size) for size in shape] for shape in shapes]


def _is_variable(size: Any) -> bool:
    """Whether a size is still symbolic after tracing."""
    return isinstance(size, torch.SymInt) and bool(size.node.expr.free_symbols)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and log messages of the tracer and of the converter."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch._export")]
    loggers += [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
