"""Replace means and group norms by sequences of short sums, for exported files.

A runtime may sum thousands of values sequentially in float32, where torch uses partial sums: for a
silent clip the error of such a mean is 1e-4, which later norms amplify to 1e-3. Reducing one
dimension at a time keeps the sums short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from cign.export.rewriting import Writer, rewrite

_aten = torch.ops.aten


def write_out_sums(program: ExportedProgram) -> None:
    """Replace means over several dimensions and group norms of a traced network, in place."""
    rewrite(program, {_aten.mean.dim: _mean, _aten.group_norm.default: _group_norm})


def _mean(
    call: Writer, x: fx.Node, dims: Sequence[int], keep: bool = False, **kwargs: Any
) -> fx.Node:
    """The first value plus the mean of the differences from it, one dimension at a time."""
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
    call: Writer,
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
