"""Expect an error by its code and the names in its sentence."""

import re
from contextlib import contextmanager

import pytest

from cign.errors import InputError, RunError


@contextmanager
def _expected(cls, code, names):
    with pytest.raises(cls) as caught:
        yield caught
    said = str(caught.value)
    assert caught.value.code == code, said
    for name in map(str, names):
        assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said), (name, said)


def input_error(code, *names):
    """Expect an `InputError` with a code; its sentence contains the names as whole words."""
    return _expected(InputError, code, names)


def run_error(code, *names):
    """Expect a `RunError` likewise."""
    return _expected(RunError, code, names)
