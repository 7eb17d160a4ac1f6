"""Names that arrive: at line breaks or NUL, in any pieces, with pauses where nothing is there."""

import io
import os

import pytest

from cign.cli.name_stream import arriving_names, split_names
from cign.data.media.side_by_side import PAUSE, Pause
from refusals import input_error


def pieces(data, size):
    return (data[i : i + size] for i in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a.mp4\nb c.mp4\n", ["a.mp4", "b c.mp4"]),
        (b"a.mp4\r\n\r\n  \nb.mp4", ["a.mp4", "b.mp4"]),
        (b"\xef\xbb\xbfa.mp4\n\xc3\xa9.mp4\n", ["a.mp4", "é.mp4"]),
        (b"caf\xe9.mp4\n", [os.fsdecode(b"caf\xe9.mp4")]),
        (b"a.mp4\0b c.mp4\0", ["a.mp4", "b c.mp4"]),
        (b"\xef\xbb\xbf", []),
        (b"", []),
    ],
)
def test_names_are_split_alike_in_pieces_of_any_size(data, names, size):
    assert list(split_names(pieces(data, size))) == names


def test_a_nul_separated_name_may_hold_a_line_break():
    data = b"one\nname.mp4\0other.mp4\0"
    assert list(split_names(iter([data]))) == ["one\nname.mp4", "other.mp4"]


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-be"])
def test_utf16_is_refused_with_the_remedy(coding):
    data = "a.mp4\n".encode(coding)
    if coding == "utf-16-be":
        data = b"\xfe\xff" + data
    with input_error("file-unreadable", "UTF-16", "UTF-8"):
        list(split_names(iter([data])))


def test_a_pause_comes_before_each_wait_and_names_as_soon_as_they_are_there():
    read, write = os.pipe()
    with os.fdopen(read) as stream, os.fdopen(write, "wb", buffering=0) as sender:
        names = arriving_names(stream)
        assert next(names) is PAUSE
        for name in ("a.mp4", "b.mp4"):
            sender.write(name.encode() + b"\n")
            # Nothing more is written before this name has come.
            assert next(one for one in names if not isinstance(one, Pause)) == name
        sender.close()
        assert [one for one in names if not isinstance(one, Pause)] == []


def test_a_stream_without_a_descriptor_is_read_too():
    names = arriving_names(io.StringIO("a.mp4\nb.mp4\n"))
    assert [one for one in names if not isinstance(one, Pause)] == ["a.mp4", "b.mp4"]


def test_an_error_of_the_stream_comes_where_names_are_asked_for():
    read, write = os.pipe()
    with os.fdopen(read) as stream, os.fdopen(write, "wb", buffering=0) as sender:
        sender.write("a.mp4\n".encode("utf-16"))
        with input_error("file-unreadable", "UTF-16"):
            list(arriving_names(stream))
