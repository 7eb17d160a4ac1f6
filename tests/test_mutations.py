"""`tools/mutations.py`: what it changes in source code, and what it leaves alone."""

import ast

import pytest

from benchmark_scripts import tool

SOURCE = '''
"""Text 1."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    x = 1 + 1

@cache(maxsize=4)
def f(a: int = 3) -> "list[1]":
    """Text 2."""
    if a < 0 and not b:
        raise ValueError(a - 1)
    log(a)
    return min(a, -1) * x.mean(dim=0) + 0.5
'''


@pytest.fixture(scope="module")
def found():
    return list(tool("mutations").mutations(SOURCE))


def changed(found, change):
    """The lines of the mutants with this change."""
    original = ast.unparse(ast.parse(SOURCE)).splitlines()
    return [
        [b for a, b in zip(original, one.source.splitlines(), strict=True) if a != b]
        for one in found
        if one.change == change
    ]


def test_each_mutant_is_another_program(found):
    texts = [one.source for one in found]
    assert len(set(texts)) == len(texts)
    assert ast.unparse(ast.parse(SOURCE)) not in texts
    assert len({one.name for one in found}) == len(found)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("Lt to LtE", "    if a <= 0 and (not b):"),
        ("And to Or", "    if a < 0 or not b:"),
        ("without Not", "    if a < 0 and b:"),
        ("opposite condition", "    if not (a < 0 and (not b)):"),
        ("without the call", "    pass"),
        ("min to max", "    return max(a, -1) * x.mean(dim=0) + 0.5"),
        ("mean to sum", "    return min(a, -1) * x.sum(dim=0) + 0.5"),
        ("Mult to Div", "    return min(a, -1) / x.mean(dim=0) + 0.5"),
        ("Add to Sub", "    return min(a, -1) * x.mean(dim=0) - 0.5"),
        ("without USub", "    return min(a, 1) * x.mean(dim=0) + 0.5"),
        ("0.5 to 0.75", "    return min(a, -1) * x.mean(dim=0) + 0.75"),
        ("3 to 4", "def f(a: int=4) -> 'list[1]':"),
    ],
)
def test_what_is_changed(found, change, line):
    assert changed(found, change) == [[line]]


def test_what_is_left_alone(found):
    """Docstrings, decorators, annotations, what is raised, and what only type checkers read."""
    lines = {one.line for one in found}
    texts = SOURCE.splitlines()
    assert {texts[line - 1].strip() for line in lines} == {
        'def f(a: int = 3) -> "list[1]":',
        "if a < 0 and not b:",
        "log(a)",
        "return min(a, -1) * x.mean(dim=0) + 0.5",
    }
