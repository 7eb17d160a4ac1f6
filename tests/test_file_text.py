"""File names as text: valid UTF-8, and reversible for every name that a file may have."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cign.utils.file_text import escape_name, unescape_name

# Bytes of which escapes and characters are made are more frequent than chance would have them.
NAMES = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=3), st.sampled_from([b"\\", b"\\x", b"x", b"e9", b"\\\\"])
    )
).map(b"".join)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"clips/dog.mp4", "clips/dog.mp4"),
        ("Bjørk 猫.mp4".encode(), "Bjørk 猫.mp4"),
        (b"caf\xe9.mp4", r"caf\xe9.mp4"),
        (b"back\\slash.mp4", "back\\slash.mp4"),
        (b"\xff\\x", r"\xff\\x"),
        (b"a\nb", r"a\x0ab"),
        ("\x9f".encode(), r"\xc2\x9f"),
        (rb"caf\xe9.mp4", r"caf\\xe9.mp4"),  # a name that looks like an encoded one
    ],
)
def test_a_name_becomes_this_text(raw, text):
    assert escape_name(os.fsdecode(raw)) == text
    assert os.fsencode(unescape_name(text)) == raw


@given(NAMES)
def test_any_name_comes_back_and_is_utf8(raw):
    text = escape_name(os.fsdecode(raw))
    assert json.loads(json.dumps(text, ensure_ascii=False).encode("utf-8")) == text
    assert os.fsencode(unescape_name(text)) == raw


@given(NAMES, NAMES)
def test_two_names_never_become_one_text(first, second):
    if first != second:
        assert escape_name(os.fsdecode(first)) != escape_name(os.fsdecode(second))
