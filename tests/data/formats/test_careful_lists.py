"""Lists of benchmarks and shards are as careful with what is missing or said twice as tables."""

from __future__ import annotations

import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cign.data.formats import read_source
from cign.errors import InputError
from refusals import input_error


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.mark.parametrize(
    ("name", "text", "format", "said"),
    [
        ("train.csv", "label," + KINETICS + "x,a,v,0,10,train\n", "kinetics-sounds", "2 columns"),
        ("train.csv", KINETICS + "nan,v,0,10,train\n", "kinetics-sounds", "line 2: the class name"),
        ("train.csv", KINETICS + "dog,v,0,10,eval\n", "kinetics-sounds", "unknown split .* 'eval'"),
        ("vggsound.csv", "abc,1,dog,train\nabd,1,nan,train\n", "vggsound", "line 2: the class"),
        ("test.csv", "abc_000001.mp4,dog\nabd_000001.mp4,NaN\n", "vggsound", "line 2: the class"),
        ("Annotations.txt", "dog&a&g&0&1\nnan&b&g&0&1\n", "ave", "line 2: the class name"),
        (
            "vggss.json",
            '[{"file": "abc_000001", "class": null, "bbox": []}]',
            "vgg-sound-sources",
            r"entry 1: the class name is missing \(null\)",
        ),
        (
            "vggss.json",
            '[{"file": "abc_000001", "class": NaN, "bbox": []}]',
            "vgg-sound-sources",
            "entry 1: the class name is missing",
        ),
        (
            "vggss.json",
            '[{"file": "abc_000001", "class": "a", "class": "b", "bbox": []}]',
            "vgg-sound-sources",
            "it names 'class' twice",
        ),
        (
            "MUSIC.json",
            '{"videos": {"banjo": ["abc"], "banjo": ["abd"]}}',
            "music-json",
            "it names 'banjo' twice",
        ),
        (
            "MUSIC.json",
            '{"videos": {"banjo": ["abc", null]}}',
            "music-json",
            "id '' contains other",
        ),
        ("MUSIC.json", '{"videos": {"nan": ["abc"]}}', "music-json", "class name is missing"),
    ],
)
def test_other_lists_are_as_careful(name, text, format, said, tmp_path):
    with pytest.raises(InputError, match=said):
        read_source(write(tmp_path, name, text), format=format, min_classes=1, require_train=False)


def test_lists_of_kinetics_may_be_spelled_otherwise(tmp_path):
    text = KINETICS + "dog,abc,0,10,train\ncat,abd,0,10,train\ncat,abe,0,10,validate\n"
    expected = read_source(write(tmp_path, "train.csv", text), format="kinetics-sounds").clips
    other = "\ufeff" + text.replace(",", ";").upper().replace("DOG", "dog").replace("CAT", "cat")
    other = other.replace("ABC", "abc").replace("ABD", "abd").replace("ABE", "abe")
    found = read_source(write(tmp_path, "train.csv", other), format="kinetics-sounds").clips
    assert found == expected
    assert [clip.split for clip in found] == ["train", "train", "val"]


def test_a_dictionary_with_a_missing_class_is_refused(tmp_path):
    for value in ("nan", None, math.nan):
        array = np.array({"train": {"abc": "dog", "abd": value}}, dtype=object)
        np.save(tmp_path / "all_id_category_dict.npy", array, allow_pickle=True)
        with pytest.raises(InputError, match="class name"):
            read_source(tmp_path, min_classes=1)


def test_two_classes_of_one_number_are_refused(tmp_path):
    for name, values in (
        ("all_id_category_dict", {"train": {"abc": "dog", "abd": "cat"}}),
        ("category_encode_dict", {"dog": 1, "cat": 1}),
    ):
        np.save(tmp_path / f"{name}.npy", np.array(values, dtype=object), allow_pickle=True)
    with input_error("bad-list", "1", "category_encode_dict.npy"):
        read_source(tmp_path)


def test_records_of_shards(tmp_path):
    def shard(records):
        with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
            for number, record in enumerate(records):
                (tmp_path / "record").write_text(record)
                tar.addfile(tarfile.TarInfo(f"{number}.mp4"))
                tar.add(tmp_path / "record", f"{number}.json")
        return tmp_path / "train-0.tar"

    numbers = shard(json.dumps({"labels": n, "source": math.nan}) for n in (0.0, 1.0, 0))
    found = read_source(numbers)
    assert found.class_names == ("0", "1")
    assert len({clip.source for clip in found.clips}) == 3
    for record, said in (
        ('{"labels": NaN}', "train-0.tar/1: the class name is missing"),
        ('{"labels": ["dog", null]}', r"train-0.tar/1: the class name is missing \(null\)"),
        ('{"labels": "a", "labels": "b"}', "it names 'labels' twice"),
    ):
        with pytest.raises(InputError, match=said):
            read_source(shard(['{"labels": "dog"}', record]), min_classes=1)
    (tmp_path / "classnames.txt").write_text("dog\ncat\ndog\n")
    with input_error("bad-list", "'dog'"):
        read_source(numbers)
