"""Means and group norms written out, for files that other programs run.

A runtime may add up thousands of values in one row, in float32, where torch adds in parts: for a
clip of silence such a mean is off by 1e-4, and the norms behind it make 1e-3 of it. One dimension
after another the rows are short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_aten = torch.ops.aten


def write_out_sums(program: ExportedProgram) -> None:
    """Replace means over several dimensions and group norms of a traced network, in place."""
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            for node in list(module.graph.nodes):
                if node.target is _aten.mean.dim:
                    _replace(node, _mean)
                elif node.target is _aten.group_norm.default:
                    _replace(node, _group_norm)
            module.recompile()


class _Writer:
    """Calls an operator: on values that stand for shapes, and as a node of the graph."""

    def __init__(self, node: fx.Node) -> None:
        self._node = node

    def __call__(self, operator: Any, *args: Any, **kwargs: Any) -> fx.Node:
        step = self._node.graph.call_function(operator, args, kwargs)
        values = [arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args]
        step.meta = {**self._node.meta, "val": operator(*values, **kwargs)}
        return step


def _replace(node: fx.Node, write: Callable[..., fx.Node]) -> None:
    with node.graph.inserting_before(node):
        result = write(_Writer(node), *node.args, **node.kwargs)
    node.replace_all_uses_with(result)
    node.graph.erase_node(node)


def _mean(
    call: _Writer, x: fx.Node, dims: Sequence[int], keep: bool = False, **kwargs: Any
) -> fx.Node:
    """The first value plus the mean of the differences from it, one dimension after another."""
    num_dims = x.meta["val"].ndim
    dims = sorted((d % num_dims for d in dims), reverse=True)
    first = x
    for dim in dims:
        first = call(_aten.slice.Tensor, first, dim, 0, 1)
    mean = call(_aten.sub.Tensor, x, first)
    for dim in dims:
        mean = call(_aten.mean.dim, mean, [dim], True, **kwargs)
    mean = call(_aten.add.Tensor, first, mean)
    return mean if keep else call(_aten.squeeze.dims, mean, dims)


def _group_norm(
    call: _Writer,
    x: fx.Node,
    num_groups: int,
    weight: fx.Node | None = None,
    bias: fx.Node | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> fx.Node:
    """(x - mean) / sqrt(variance + eps) of each group, times weight, plus bias: [B, C, ...]."""
    num_channels, num_rest = x.meta["val"].shape[1], x.meta["val"].ndim - 2
    groups = call(_aten.unflatten.int, x, 1, [num_groups, num_channels // num_groups])
    dims = list(range(2, num_rest + 3))
    centred = call(_aten.sub.Tensor, groups, _mean(call, groups, dims, True))
    variance = _mean(call, call(_aten.mul.Tensor, centred, centred), dims, True)
    scale = call(_aten.rsqrt.default, call(_aten.add.Tensor, variance, eps))
    out = call(_aten.flatten.using_ints, call(_aten.mul.Tensor, centred, scale), 1, 2)
    for operator, values in ((_aten.mul.Tensor, weight), (_aten.add.Tensor, bias)):
        if values is not None:
            shape = [num_channels, *[1] * num_rest]
            out = call(operator, out, call(_aten.view.default, values, shape))
    return out
