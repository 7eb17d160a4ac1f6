"""Replace operators of a traced network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx
from torch.export import ExportedProgram


class Writer:
    """Adds an operator call to the graph and evaluates it on the fake tensors of the trace."""

    def __init__(self, node: fx.Node) -> None:
        self._node = node

    def __call__(self, operator: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call before the node to be replaced."""
        step = self._node.graph.call_function(operator, args, kwargs)
        values = fx.node.map_arg(args, lambda node: node.meta["val"])
        step.meta = {**self._node.meta, "val": operator(*values, **kwargs)}
        return step


# Maps a writer and the arguments of an operator to the node with the result.
Rule = Callable[..., fx.Node]


def rewrite(program: ExportedProgram, rules: Mapping[Any, Rule]) -> None:
    """Replace operators in a traced network, in place."""
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            for node in list(module.graph.nodes):
                if node.op == "call_function" and node.target in rules:
                    _replace(node, rules[node.target])
            module.recompile()


def _replace(node: fx.Node, write: Rule) -> None:
    with node.graph.inserting_before(node):
        result = write(Writer(node), *node.args, **node.kwargs)
    node.replace_all_uses_with(result)
    node.graph.erase_node(node)
