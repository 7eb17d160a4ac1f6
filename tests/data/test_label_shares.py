"""Weights, shares of labels and background in lists: read, refused, stored and written back."""

import csv
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cign.data.clip_file import read_clips, write_clips
from cign.data.clips import Clip
from cign.data.formats.export import write_clip_table
from cign.data.formats.label_texts import label_text, label_texts, parse_labels
from cign.data.formats.labels import is_missing
from cign.data.label_shares import is_multi_label
from cign.data.tasks import TaskClips, TaskSequence
from lists import by_id, read, said, write
from refusals import input_error

HEADER = "path,labels,split,weight\n"


def table(tmp_path, *rows, header=HEADER):
    return write(tmp_path / "list", clips__csv=header + "".join(f"{row}\n" for row in rows))


def clip(name="x.mp4", labels=("a",), **values):
    return Clip(id=name, path=f"/{name}", labels=labels, split="train", **values)


def test_weights_shares_and_background_are_read(tmp_path):
    found = read(
        table(
            tmp_path,
            "1.mp4,dog:0.7,train,0.5",
            "2.mp4,dog:0.7|cat:0.3,train,",
            "3.mp4,none,train,0.25",
            "4.mp4,cat,train,1",
            "5.mp4, dog : 0.5 | cat:0.25,train,",
            "6.mp4,_background,val,",
            "7.mp4,dog:1,train,",
        )
    )
    clips = by_id(found)
    assert [(clips[f"{n}.mp4"].labels, clips[f"{n}.mp4"].shares) for n in range(1, 8)] == [
        (("dog",), (0.7,)),
        (("dog", "cat"), (0.7, 0.3)),
        ((), ()),
        (("cat",), ()),
        (("dog", "cat"), (0.5, 0.25)),
        ((), ()),
        (("dog",), ()),
    ]
    assert [clips[f"{n}.mp4"].weight for n in range(1, 8)] == [0.5, 1, 0.25, 1, 1, 1, 1]
    assert found.class_names == ("dog", "cat")
    assert said(found, "2 clips are background")


@pytest.mark.parametrize(
    ("text", "name", "share"),
    [
        ("a:b", "a:b", 1.0),
        ("16:9", "16:9", 1.0),
        ("scene:2", "scene:2", 1.0),
        ("scene:1:1", "scene:1", 1.0),
        ("x:0.5:1", "x:0.5", 1.0),
        ("x:0.5:0.25", "x:0.5", 0.25),
        ("none:1", "none", 1.0),
        ("_background:1", "_background", 1.0),
        ("none:0.5", "none", 0.5),
        ("a:nan", "a:nan", 1.0),
        ("a:1e-3", "a", 0.001),
        ("a:.5", "a", 0.5),
        ("None :1", "None ", 1.0),
    ],
)
def test_a_suffix_is_a_share_only_if_it_is_one(text, name, share):
    if name.strip() == "None":  # a missing value, with a share or not
        with input_error("bad-list", "here"):
            parse_labels([text], "here")
        return
    assert parse_labels([text], "here") == ((name,), (share,))


NAMES = st.text(st.sampled_from("ab:01.5e-_ none"), min_size=1, max_size=8).filter(
    lambda text: text == text.strip() and not is_missing(text)
)


@given(name=NAMES, share=st.one_of(st.just(1.0), st.floats(1e-9, 1.0)))
def test_what_is_written_is_read_back(name, share):
    assert parse_labels([label_text(name, share)], "here") == ((name,), (share,))


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("1.mp4,a,train,0", ["weight", "'0'"]),
        ("1.mp4,a,train,-1", ["weight", "'-1'"]),
        ("1.mp4,a,train,1.5", ["weight", "'1.5'"]),
        ("1.mp4,a,train,heavy", ["weight", "'heavy'"]),
        ("1.mp4,a,train,nan", ["weight", "'nan'"]),
        ("1.mp4,a:1.5,train,", ["a:1.5", "at most 1", "a:1.5:1"]),
        ("1.mp4,a:0.0,train,", ["a:0.0", "above 0"]),
        ("1.mp4,a:-0.5,train,", ["a:-0.5", "above 0"]),
        ("1.mp4,:0.7,train,", [":0.7", "label"]),
        ("1.mp4,a:0.7|b:0.4,train,", ["1.1", "at most 1"]),
        ("1.mp4,a:0.7|a:0.2,train,", ["'a'", "0.7", "0.2"]),
        ("1.mp4,a|none,train,", ["none", "none:1"]),
    ],
)
def test_bad_weights_and_shares_are_refused(tmp_path, row, names):
    with input_error("bad-list", *names):
        read(table(tmp_path, row, "2.mp4,b,train,1"))


def test_a_number_in_a_name_is_not_taken_for_a_share(tmp_path):
    rows = ["1.mp4,scene:1,train,", "2.mp4,scene:2,train,"]
    with input_error("bad-list", "scene:1:1", "scene:2"):
        read(table(tmp_path, *rows))
    rows[0] = "1.mp4,scene:1:1,train,"
    assert read(table(tmp_path, *rows)).class_names == ("scene:1", "scene:2")


def test_sums_above_one_are_for_clips_of_several_classes(tmp_path):
    rows = ["1.mp4,a:0.7|b:0.6,train,", "2.mp4,b|a,train,"]
    found = read(table(tmp_path, *rows))
    assert is_multi_label(found.clips)
    assert not is_multi_label([clip(labels=("a", "b"), shares=(0.5, 0.5))])


def test_contradictory_rows_are_refused(tmp_path):
    with input_error("bad-list", "1.mp4", "shares"):
        read(table(tmp_path, "1.mp4,a:0.7,train,", "1.mp4,a:0.6,train,"))
    with input_error("bad-list", "1.mp4", "weights"):
        read(table(tmp_path, "1.mp4,a,train,1", "1.mp4,a,train,0.5"))


def test_the_folder_of_background_is_none_of_the_classes(tmp_path):
    for folder in ("dog", "_background", "none"):
        for number in range(10):
            place = tmp_path / "source" / folder / f"{number}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    found = read(tmp_path / "source")
    assert found.class_names == ("dog", "none")
    background = [one for one in found.clips if one.is_background]
    assert {one.id.partition("/")[0] for one in background} == {"_background"}
    assert sorted(one.split for one in background) == ["test"] * 2 + ["train"] * 7 + ["val"]


def test_a_written_table_is_read_back(tmp_path):
    rows = [
        "1.mp4,a:0.7|b:0.3,train,0.1",
        "2.mp4,none,train,",
        "3.mp4,none:1,train,",
        "4.mp4,b,val,",
    ]
    source = table(tmp_path, *rows, "5.mp4,b,train,")
    found = read(source)
    write_clip_table(found, tmp_path / "written.csv", [source])
    with (tmp_path / "written.csv").open() as file:
        written = {row["path"]: row for row in csv.DictReader(file)}
    assert [written[f"{n}.mp4"]["labels"] for n in range(1, 5)] == [
        "a:0.7|b:0.3",
        "none",
        "none:1",
        "b",
    ]
    again = read(tmp_path / "written.csv", media=[source])
    assert again.clips == found.clips
    assert again.list_hash == found.list_hash
    assert [label_texts(one) for one in again.clips][1:3] == [("none",), ("none:1",)]


def test_lists_in_parquet(tmp_path):
    place = tmp_path / "clips.parquet"
    columns = {
        "path": ["1.mp4", "2.mp4"],
        "labels": [["a:0.25", "b:0.5"], ["none"]],
        "split": ["train"] * 2,
        "weight": [0.5, None],
    }
    pq.write_table(pa.table(columns), place)
    first, second = read(place).clips
    assert (first.labels, first.shares, first.weight) == (("a", "b"), (0.25, 0.5), 0.5)
    assert (second.labels, second.weight) == ((), 1.0)


def test_usual_lists_have_the_hash_and_the_file_of_before(tmp_path):
    """The hash of ids, labels and splits, computed here from its definition."""
    plain = read(table(tmp_path, "1.mp4,a,train,", "2.mp4,b|a,val,1"))
    lines = sorted(
        json.dumps([one.id, sorted(one.labels), one.split], sort_keys=True) for one in plain.clips
    )
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert plain.list_hash == digest
    rest = dict.fromkeys(("row", "duration_s", "window_start_s", "window_end_s"), 0)
    rest |= dict.fromkeys(("audio_ok", "visual_ok", "silent", "still"), True)
    write_clips(tmp_path / "clips.parquet", plain.clips, [{**rest, "content_hash": ""}] * 2)
    assert not {"weight", "shares"} & set(pq.read_schema(tmp_path / "clips.parquet").names)
    unusual = [clip(weight=0.5, labels=("a", "b"), shares=(0.5, 0.25)), clip("y.mp4", labels=())]
    write_clips(tmp_path / "more.parquet", unusual, [{**rest, "content_hash": ""}] * 2)
    for place, clips in (("clips.parquet", plain.clips), ("more.parquet", unusual)):
        found = read_clips(tmp_path / place)[0]
        assert [(x.labels, x.shares, x.weight) for x in found] == [
            (x.labels, x.shares, x.weight) for x in clips
        ]


def test_tasks_of_weighted_and_background_clips():
    tasks = TaskSequence((("a", "b"), ("c",)))
    clips = [
        clip("1", ("a",), weight=0.5),
        clip("2", ("b", "c"), shares=(0.5, 0.25)),
        clip("3", ()),
        clip("4", ("c",)),
    ]
    found = TaskClips.of_clips(clips, tasks)
    assert found.weights.tolist() == [0.5, 1, 1, 1]
    assert found.shares.tolist() == [[1, 0, 0], [0, 0.5, 0.25], [0, 0, 0], [0, 0, 1]]
    assert found.background.tolist() == [False, False, True, False]
    assert found.task_of_clip.tolist() == [0, 1, -1, 1]
    assert found.arrival.tolist() == [0, 1, 0, 1]
    assert found.class_of(np.arange(4)).tolist() == [0, 2, -1, 2]
    assert not found.is_multi_label
    usual = TaskClips.of_clips([clips[3]], tasks)
    assert (usual.weights, usual.shares, usual.background) == (None, None, None)


def test_the_likely_labels_are_those_of_the_largest_share():
    assert clip(labels=("a", "b"), shares=(0.3, 0.7)).likely_labels == ("b",)
    assert clip(labels=("a", "b"), shares=(0.5, 0.5)).likely_labels == ("a",)
    assert clip(labels=("a", "b", "c"), shares=(1.0, 0.5, 1.0)).likely_labels == ("a", "c")
    assert clip(labels=("a", "b")).likely_labels == ("a", "b")
