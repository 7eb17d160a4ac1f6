"""Small changes of Python source code that tests should notice.

A mutation replaces one expression or statement: an operator by a related one, a number by another
one, ``min`` by ``max``, a condition by its opposite, a call whose value is not used by nothing.
Docstrings, annotations, decorators and what is raised stay as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_PAIRS = (
    *(("min", "max"), ("amin", "amax"), ("argmin", "argmax"), ("any", "all")),
    *(("mean", "sum"), ("floor", "ceil"), ("ones", "zeros"), ("minimum", "maximum")),
    *(("clamp_min", "clamp_max"), ("logical_and", "logical_or"), ("exp", "log")),
    *(("sqrt", "square"), ("cumsum", "cumprod"), ("add_", "sub_"), ("mul_", "div_")),
)
_NAMES = dict(_PAIRS) | {b: a for a, b in _PAIRS}


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A change of one node.

    Attributes:
        line: Number of the line, from 1.
        column: Number of the column, from 0.
        change: What is changed, for example ``+ to -``.
        source: The changed module.
    """

    line: int
    column: int
    change: str
    source: str

    @property
    def name(self) -> str:
        """A name that is unique within a module."""
        return f"{self.line}:{self.column} {self.change}"


Undo = Callable[[], None]


def mutations(source: str) -> Iterator[Mutation]:
    """All mutations of a module.

    Args:
        source: Its text.

    Yields:
        Mutations, in the order of the syntax tree.
    """
    tree = ast.parse(source)
    for node, owner in _nodes(tree):
        for change, apply in _changes(node, owner):
            undo = apply()
            text = ast.unparse(tree)
            undo()
            yield Mutation(
                line=getattr(node, "lineno", 0),
                column=getattr(node, "col_offset", 0),
                change=change,
                source=text,
            )


def _nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Nodes that may be changed, each with the one that holds it."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "type_comment"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.Assert):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue  # a docstring
            yield child, tree
            yield from _nodes(child)


def _swap(node: ast.AST, field: str, value: object) -> Callable[[], Undo]:
    """Sets a field of a node; what it returns sets it back."""

    def apply() -> Undo:
        before = getattr(node, field)
        setattr(node, field, value)
        return lambda: setattr(node, field, before)

    return apply


def _replace(node: ast.AST, owner: ast.AST, new: ast.AST) -> Callable[[], Undo]:
    """Puts another node in the place of a node."""

    def apply() -> Undo:
        for field, value in ast.iter_fields(owner):
            if value is node:
                setattr(owner, field, new)
                return lambda: setattr(owner, field, node)
            if isinstance(value, list) and any(one is node for one in value):
                at = next(i for i, one in enumerate(value) if one is node)
                value[at] = new
                return lambda: value.__setitem__(at, node)
        raise AssertionError("the node is not in its owner")

    return apply


def _changes(node: ast.AST, owner: ast.AST) -> Iterator[tuple[str, Callable[[], Undo]]]:
    """What can be changed about a node, each with a function that changes it."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        new = _BINARY.get(type(node.op))
        if new is not None:
            yield f"{type(node.op).__name__} to {new.__name__}", _swap(node, "op", new())
    elif isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            to = _COMPARISONS[type(operator)]
            ops = [to() if i == number else one for i, one in enumerate(node.ops)]
            yield f"{type(operator).__name__} to {to.__name__}", _swap(node, "ops", ops)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{type(node.op).__name__} to {type(other).__name__}", _swap(node, "op", other)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield f"without {type(node.op).__name__}", _replace(node, owner, node.operand)
    elif isinstance(node, ast.Constant):
        yield from _of_constant(node)
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield f"{node.attr} to {_NAMES[node.attr]}", _swap(node, "attr", _NAMES[node.attr])
    elif isinstance(node, ast.Name) and node.id in {"min", "max", "any", "all"}:
        yield f"{node.id} to {_NAMES[node.id]}", _swap(node, "id", _NAMES[node.id])
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        opposite = ast.UnaryOp(op=ast.Not(), operand=node.test)
        yield "opposite condition", _swap(node, "test", opposite)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "without the call", _replace(node, owner, ast.Pass())


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, Callable[[], Undo]]]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} to {not value}", _swap(node, "value", not value)
    elif isinstance(value, int):
        yield f"{value} to {value + 1}", _swap(node, "value", value + 1)
    elif isinstance(value, float):
        new = 1.5 * value if value else 1.0
        yield f"{value:g} to {new:g}", _swap(node, "value", new)
