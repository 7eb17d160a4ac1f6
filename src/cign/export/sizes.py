"""Replace implicit sizes by explicit ones, for exported files.

In torch, -1 in `expand` means that a size does not change. Converted together with a variable size,
the -1 becomes part of the shape given to a runtime, which rejects it. The `expand` that the
converter generates for `repeat_interleave` has the same problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from cign.export.rewriting import Rule, Writer, rewrite

_aten = torch.ops.aten
Size = int | fx.Node


def write_out_sizes(program: ExportedProgram) -> None:
    """Replace expansions in a traced network by expansions with explicit sizes, in place."""
    rules: dict[Any, Rule] = {
        _aten.expand.default: _expand,
        _aten.repeat_interleave.self_int: _repeat,
    }
    rewrite(program, rules)


def _expand(call: Writer, x: fx.Node, sizes: Sequence[Size], **_: Any) -> fx.Node:
    """`Tensor.expand`; new dimensions precede those of x."""
    num_new = len(sizes) - x.meta["val"].ndim
    explicit = [_size(call, x, i - num_new) if size == -1 else size for i, size in enumerate(sizes)]
    return call(_aten.expand.default, x, explicit)


def _repeat(call: Writer, x: fx.Node, repeats: Size, dim: int | None = None, **_: Any) -> fx.Node:
    """`Tensor.repeat_interleave` with a single number of repeats."""
    if dim is None:
        x, dim = call(_aten.flatten.using_ints, x), 0
    num_dims = x.meta["val"].ndim
    dim %= num_dims
    sizes = [_size(call, x, i) for i in range(num_dims)]
    expanded = [*sizes[: dim + 1], repeats, *sizes[dim + 1 :]]
    repeated = call(_aten.expand.default, call(_aten.unsqueeze.default, x, dim + 1), expanded)
    return call(_aten.flatten.using_ints, repeated, dim, dim + 1)


def _size(call: Writer, x: fx.Node, dim: int) -> Size:
    """A size: a number if it is fixed, else the node that computes it."""
    size = x.meta["val"].shape[dim]
    return size if isinstance(size, int) else call(_aten.sym_size.int, x, dim)
