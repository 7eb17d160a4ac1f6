"""Lists of benchmarks through the commands: what is printed, and what is refused."""

import json
import pickle

import numpy as np
import pytest

from .adding import refused


@pytest.fixture
def lists(tmp_path):
    """A VGGSound list of two classes whose recordings lie in both splits."""
    rows = [
        f"video_{n // 2:05d},{n},{'cat' if n < 80 else 'dog'},{'train' if n % 4 else 'test'}"
        for n in range(160)
    ]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "vggsound.csv").write_text("\n".join(rows))
    (tmp_path / "clips").mkdir()
    for number in range(10):
        (tmp_path / "clips" / f"video_{number // 2:05d}_{number:06d}.mp4").touch()
    return tmp_path


def test_lists_alone_and_with_media(cign, lists):
    code, out, err = cign("inspect", lists / "lists")
    assert code == 0
    assert "40 test clips share a recording with train" in out
    assert "160 of 160 files are missing" in out
    code, out, err = cign("inspect", lists / "lists", "--media", lists / "clips")
    assert "150 of 160 files are missing" in out
    assert "VIDEO_000030 10, VIDEO_30 0" in err


def test_corrected_splits_and_their_table(cign, lists):
    facts = json.loads(cign("inspect", lists / "lists", "--json")[1])
    table = lists / "corrected.csv"
    options = ("--split", "corrected", "--write-table", table, "--media", lists / "clips")
    code, out, _ = cign("inspect", lists / "lists", *options, "--json")
    corrected = json.loads(out)
    assert code == 0
    assert corrected["counts"]["test"] == {"cat": 8, "dog": 8}
    assert corrected["shared_sources"] == []
    assert corrected["list_hash"] != facts["list_hash"]
    again = json.loads(cign("inspect", table, "--media", lists / "clips", "--json")[1])
    assert again["counts"] == corrected["counts"]
    assert again["num_missing"] == 150


def test_refusals(cign, lists, tmp_path, world):
    source = lists / "lists"
    refused(cign("inspect", source, "--split", "best"), "'best'", "historical, corrected")
    refused(cign("inspect", source, "--format", "vgg"), "'vgg'", "vggsound-instruments")
    refused(cign("inspect", source, "--format", "ave"), "neither Annotations.txt", "--format")
    refused(cign("inspect", world.store, "--split", "corrected"), "--split does not apply")
    refused(cign("inspect", world.store, "--write-table", "x.csv"), "--write-table does not apply")
    refused(
        cign("prepare", source, tmp_path / "s", "--backbone", "none", "--split", "best"), "'best'"
    )
    assert not (tmp_path / "s").exists()


def test_a_pickle_that_calls_something(cign, tmp_path):
    array = np.array({"train": {"a": print}}, dtype=object)
    with (tmp_path / "all_id_category_dict.npy").open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(pickle.dumps(array))
    refused(cign("inspect", tmp_path), "would run builtins.print", "get the list from")
