"""The codes of errors: declared, documented and used."""

import ast
import pickle
import re
from pathlib import Path
from typing import get_args

import pytest

import cign
from cign.data.media.container import _CODES
from cign.errors import CignError, Code, InputError, RunError, one_of
from pages import DOCS
from refusals import input_error

SOURCE = Path(cign.__file__).parent
CODES = get_args(Code)


def raised_codes():
    """The codes that the package gives to its errors, as literals."""
    found = set(_CODES.values())
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("InputError", "RunError")
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(node.args[0].value)
    return found


def test_the_page_lists_each_code_once_in_the_order_of_the_declaration():
    rows = re.findall(r"^\| `([a-z-]+)` \| .+ \| .+ \|$", (DOCS / "errors.md").read_text(), re.M)
    assert rows == list(CODES)


def test_each_code_is_used_and_no_other():
    assert raised_codes() == set(CODES)


@pytest.mark.parametrize("cls", [InputError, RunError])
def test_an_error_keeps_its_code_between_processes(cls):
    error = cls("busy", "store x is in use")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (copy.code, str(copy), copy.exit_code) == ("busy", "store x is in use", cls.exit_code)


def test_an_error_needs_a_code():
    with pytest.raises(TypeError):
        CignError("only a sentence")


def test_a_value_that_is_not_allowed_is_an_unknown_name():
    error = one_of("c", ("a", "b"), "letter")
    assert error.code == "unknown-name"
    assert str(error) == "unknown letter 'c': use one of a, b"


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (InputError("damaged", "store x is in use"), ["store"]),  # another code
        (InputError("busy", "store x is in use"), ["y"]),  # another name
        (InputError("busy", "store x1 is in use"), ["x"]),  # only a part of a word
    ],
)
def test_another_error_than_expected_fails_a_test(error, names):
    with pytest.raises(AssertionError), input_error("busy", *names):
        raise error
