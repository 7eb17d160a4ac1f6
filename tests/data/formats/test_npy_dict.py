"""Pickled dictionaries: plain values are read, and nothing a file asks for is called."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from cign.data.formats import read_source
from cign.data.formats.export import write_clip_table
from cign.data.formats.npy_dict import read_npy_dict
from cign.errors import InputError
from refusals import input_error


def save(path: Path, value: object) -> Path:
    np.save(path, np.array(value, dtype=object), allow_pickle=True)
    return path


def save_bytes(path: Path, pickled: bytes) -> Path:
    """An object array of shape () with any program behind its header."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    path.write_bytes(header.getvalue() + pickled)
    return path


class Calls:
    """What an attacker pickles: a call of anything with any arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_a_dictionary_comes_back(tmp_path):
    value = {"train": {"a": "cat", "\u00e9": 1, 3: [1.5, None, True, (b"x",)]}, "val": {}}
    assert read_npy_dict(save(tmp_path / "d.npy", value)) == value
    for protocol in (2, 3, 4, 5):
        pickled = pickle.dumps(np.array({"a": "cat"}, dtype=object), protocol=protocol)
        if protocol > 2:  # protocol 2 writes bytes as a call of a codec
            assert read_npy_dict(save_bytes(tmp_path / "p.npy", pickled)) == {"a": "cat"}


@pytest.mark.parametrize(
    "evil",
    [
        Calls(os.system, "touch PROOF"),
        Calls(eval, "open('PROOF', 'w')"),
        Calls(Path.touch, Path("PROOF")),
        Calls(np.loadtxt, "/etc/passwd"),
        Calls(getattr, "x", "upper"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_is_called(tmp_path, monkeypatch, evil, protocol):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps({"train": evil}, protocol=protocol)
    path = save_bytes(tmp_path / "all_id_category_dict.npy", pickled)
    with pytest.raises(InputError, match="would run") as caught:
        read_source(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "PROOF").exists()


def test_stand_ins_cannot_be_used_for_more(tmp_path):
    # numpy.ndarray called as a function, and given a state of its own.
    program = b"\x80\x02cnumpy\nndarray\n)R}X\x05\x00\x00\x00valueK\x01sb."
    with input_error("wrong-format", "a.npy"):
        read_npy_dict(save_bytes(tmp_path / "a.npy", program))
    # Attributes of a class would be reached by dotted names in protocol 4.
    program = b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93."
    with input_error("file-unreadable", "numpy.ndarray.__init__"):
        read_npy_dict(save_bytes(tmp_path / "b.npy", program))
    program = b"\x80\x02\x8c\x01x\x51."  # a persistent id
    with input_error("file-unreadable", "an object outside the file"):
        read_npy_dict(save_bytes(tmp_path / "c.npy", program))


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x93NUMPY\x01\x00", b"\x93NUMPY" + b"\xff" * 99]
)
def test_strange_bytes(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with input_error("damaged", "x.npy"):
        read_npy_dict(tmp_path / "x.npy")


def test_an_array_is_not_a_dictionary(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3))
    with input_error("wrong-format", "x.npy"):
        read_npy_dict(tmp_path / "x.npy")


# --- the lists of AV-CIL ---


def av_cil(folder: Path) -> Path:
    save(
        folder / "all_id_category_dict.npy",
        {
            "train": {"aaaaaaaaaaa_000010": "cat", "bbbbbbbbbbb": "dog, barking"},
            "val": {"aaaaaaaaaaa_000050": "cat"},
            "test": {"ccccccccccc_000000": "dog, barking"},
        },
    )
    save(folder / "category_encode_dict.npy", {"dog, barking": 0, "cat": 1})
    return folder


def test_av_cil_and_its_table(tmp_path):
    table = read_source(av_cil(tmp_path))
    assert table.class_names == ("dog, barking", "cat")
    assert [clip.source for clip in table.clips] == [
        *("aaaaaaaaaaa", "bbbbbbbbbbb", "aaaaaaaaaaa", "ccccccccccc"),
    ]
    media = tmp_path / "media"
    (media / "some").mkdir(parents=True)
    (media / "some" / "bbbbbbbbbbb_000003_000013.mp4").touch()
    found = read_source(tmp_path, media=[media])
    assert found.clips[1].path == media / "some" / "bbbbbbbbbbb_000003_000013.mp4"
    write_clip_table(found, tmp_path / "list.csv", [media])
    again = read_source(tmp_path / "list.csv", media=[media])
    for before, after in zip(found.clips, again.clips, strict=True):
        for name in ("path", "labels", "split", "source"):
            assert getattr(before, name) == getattr(after, name)


@pytest.mark.parametrize(
    "value",
    [{"train": {"a": 3}}, {"train": ["a"]}, {"teach": {}}, {}, {3: {}}, {"train": {"../a": "x"}}],
)
def test_av_cil_refuses_other_dictionaries(tmp_path, value):
    save(tmp_path / "all_id_category_dict.npy", value)
    with pytest.raises(InputError, match=r"all_id_category_dict\.npy|could leave"):
        read_source(tmp_path)


def test_a_program_that_names_a_large_place_takes_no_memory(tmp_path):
    """LONG_BINPUT with a large index: unpickling in C would allocate tens of gigabytes."""
    import resource

    program = b"\x80\x02}r" + (2**31 - 2).to_bytes(4, "little") + b"."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with input_error("wrong-format", "m.npy"):
        read_npy_dict(save_bytes(tmp_path / "m.npy", program))
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 100_000
