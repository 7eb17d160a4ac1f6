"""Reading tables of clips: every layout, every refusal."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cign.data.clips import Clip, make_table
from cign.data.formats import read_source
from cign.errors import InputError
from refusals import input_error

from .conftest import by_id, touch


def table(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


GOOD = "path,labels,split\na.mp4,cat,train\nb.mp4,dog,train\nc.mp4,cat,test\n"


# --- tables ---


def test_table(tmp_path):
    read = read_source(table(tmp_path, GOOD))
    assert read.class_names == ("cat", "dog")
    assert [clip.id for clip in read.clips] == ["a.mp4", "b.mp4", "c.mp4"]
    assert read.clips[0].path == tmp_path / "a.mp4"


def test_order_of_first_appearance_and_columns(tmp_path):
    text = (
        "path,labels,split,start_s,end_s,source,box,sound_start_s,sound_end_s,"
        "audio_present,visual_present,colour\n"
        'd/x.mp4,zebra|ape,train,1.5,4,film,"0.1,0.2,0.5,0.6|0,0,1,1",0|1.5,1|2,true,false,red\n'
        "d/x.mp4,ape,train,4,,film,,,,,,red\n"
        "d/y.mp4,eel,unknown,,,,,,,1,0,red\n"
    )
    read = read_source(table(tmp_path, text, "clips.csv").parent)
    assert read.class_names == ("zebra", "ape")
    first, second, third = read.clips
    assert first.id == "d/x.mp4@1.5-4"
    assert first.labels == ("zebra", "ape")
    assert first.boxes == ((0.1, 0.2, 0.5, 0.6), (0.0, 0.0, 1.0, 1.0))
    assert first.sounds == ((0.0, 1.0), (1.5, 2.0))
    assert (first.audio_present, first.visual_present) == (True, False)
    assert first.source == "film"
    assert (second.id, second.end_s, second.audio_present) == ("d/x.mp4@4-", None, None)
    assert (third.source, third.boxes) == ("d/y.mp4", ())
    assert read.notes == ("columns colour of clips.csv were ignored",)


PLACES = "path,labels,split,box,sound_start_s,sound_end_s\n"


@pytest.mark.parametrize(
    ("row", "boxes", "sounds"),
    [
        ('a.mp4,cat,train,"0,0,1,1",0,2', ((0.0, 0.0, 1.0, 1.0),), ((0.0, 2.0),)),
        ("a.mp4,cat,train,0;0.25;0.5;1,,", ((0.0, 0.25, 0.5, 1.0),), ()),
        # one label with several objects
        (
            'a.mp4,cat,train,"0,0,0.5,0.5|0.5,0.5,1,1|0,0,1,1",,',
            ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)),
            (),
        ),
        # edges that were rounded
        (
            'a.mp4,cat,train,"-0.0000005,0,1.0000005,1",,',
            ((-0.0000005, 0.0, 1.0000005, 1.0),),
            (),
        ),
        ('a.mp4,cat,train,"",,', (), ()),
        # a label of two without an object, and without a sound
        ('a.mp4,cat|dog,train,"|",|,|', (), ()),
        (
            'a.mp4,cat|dog,train,"0,0,1,1|0,0,0.1,0.2",0.5|1,1|1.25',
            ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.1, 0.2)),
            ((0.5, 1.0), (1.0, 1.25)),
        ),
    ],
)
def test_boxes_and_sounding_intervals(tmp_path, row, boxes, sounds):
    others = "b.mp4,cat,train,,,\nc.mp4,dog,train,,,\n"
    first = read_source(table(tmp_path, PLACES + row + "\n" + others)).clips[0]
    assert first.boxes == boxes
    assert first.sounds == sounds


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('a.mp4,cat,train,"0,0,1",,', "box '0,0,1' is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"0,0,1,1,1",,', "is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"0,0,,1",,', "is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"0.5,0,0.5,1",,', "is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"0,0.5,1,0.5",,', "is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"0.6,0,0.5,1",,', "is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"-0.00001,0,1,1",,', "is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"0,0,1,1.00001",,', "is not x0,y0,x1,y1"),
        ('a.mp4,cat,train,"0,0,left,1",,', "box is 'left'; give a number"),
        ('a.mp4,cat|dog,train,"0,0,1,1",,', "1 boxes for 2 labels"),
        ('a.mp4,cat|dog,train,"0,0,1,1|0,0,1,1|0,0,1,1",,', "3 boxes for 2 labels"),
        ("a.mp4,cat|dog,train,,0,1", "1 sounds for 2 labels"),
        ("a.mp4,cat,train,,0|1,1|2", "2 sounds for 1 labels"),
        ("a.mp4,cat,train,,0|1,1", "sound_start_s and sound_end_s differ in number"),
        ("a.mp4,cat,train,,0,", "sound_start_s and sound_end_s differ in number"),
        ("a.mp4,cat,train,,1,1", "not after"),
        ("a.mp4,cat,train,,-1,1", "-1"),
        ("a.mp4,cat,train,,0,late", "sound_end_s is 'late'; give a number"),
    ],
)
def test_wrong_boxes_and_sounding_intervals(tmp_path, row, message):
    others = "b.mp4,cat,train,,,\nc.mp4,dog,train,,,\n"
    with pytest.raises(InputError, match=message) as error:
        read_source(table(tmp_path, PLACES + others + row + "\n"))
    assert "list.csv" in str(error.value)
    assert re.search(r"\b4\b", str(error.value))  # the line of the file


def test_the_line_of_an_error_counts_line_breaks_in_quotes(tmp_path):
    text = 'path,labels,split,note\na.mp4,cat,train,"two\nlines"\n\nb.mp4,dog,learn,\n'
    with pytest.raises(InputError, match=r"list\.csv.*\b5\b"):
        read_source(table(tmp_path, text))


@pytest.mark.parametrize("number", [1, 4096, 4097, 5000])
def test_the_row_of_an_error_in_parquet(tmp_path, number):
    rows = [{"path": f"{i}.mp4", "labels": f"c{i % 2}", "split": "train"} for i in range(5000)]
    rows[number - 1]["split"] = "learn"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    with pytest.raises(InputError, match=rf"list\.parquet row {number}\b"):
        read_source(tmp_path / "list.parquet")


def test_parquet_says_the_same(tmp_path):
    rows = [
        {"path": "a.mp4", "labels": ["cat", "dog"], "split": "train", "start_s": 1.0},
        {"path": "b.mp4", "labels": ["dog"], "split": "test", "start_s": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    text = "path,labels,split,start_s\na.mp4,cat|dog,train,1\nb.mp4,dog,test,\n"
    parquet = read_source(tmp_path / "list.parquet")
    assert parquet.clips == read_source(table(tmp_path, text)).clips


def test_lists_and_media_may_live_apart(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    touch(one, "a.mp4")
    touch(two, "b.mp4", "a.mp4")
    read = by_id(read_source(table(tmp_path, GOOD), media=[one, two]))
    assert read["a.mp4"].path == one / "a.mp4"
    assert read["b.mp4"].path == two / "b.mp4"
    assert read["c.mp4"].path == one / "c.mp4"  # missing: found out when it is prepared


def test_absolute_paths_inside_the_root(tmp_path):
    text = f"path,labels,split\n{tmp_path}/d/a.mp4,cat,train\nd/../b.mp4,dog,train\n"
    assert [c.id for c in read_source(table(tmp_path, text)).clips] == ["d/a.mp4", "b.mp4"]


def test_rows_that_repeat(tmp_path):
    read = read_source(table(tmp_path, GOOD + "a.mp4,cat,train\n"))
    assert len(read.clips) == 3
    assert "1 rows repeat" in read.notes[0]


HEAD = "path,labels,split\nb.mp4,dog,train\n"
TIMES = "path,labels,split,start_s,end_s\nb.mp4,dog,train,,\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path'"),
        ("path,labels\na.mp4,cat\n", "no column 'split'"),
        ("path,labels,split\n", "no clips"),
        (HEAD + "a.mp4,cat,learn\n", "unknown split .*'learn'.*train, val, test, unknown"),
        (HEAD + "a.mp4,cat,train\na.mp4,cat,test\n", "in split 'train' and in split 'test'"),
        (HEAD + "a.mp4,cat,train\na.mp4,cow,train\n", "labels 'cat' and with 'cow'"),
        (HEAD, "only the class 'dog'"),
        (HEAD + "a.mp4,cat,val\n", "'cat' has no training clip"),
        (HEAD + "a.mp4,cat,train\nc.mp4,cat,unknown\n", "'unknown', but its class 'cat'"),
        (HEAD + "../a.mp4,cat,train\n", "leaves"),
        (HEAD + "d/../../a.mp4,cat,train\n", "leaves"),
        (HEAD + "/etc/a.mp4,cat,train\n", "leaves"),
        (HEAD + ",cat,train\n", "not a file name"),
        (HEAD + "a.mp4,,train\n", "class name"),
        (HEAD + "a.mp4,cat|,train\n", "class name"),
        (HEAD + 'a.mp4,"c\nat",train\n', "class name"),
        (HEAD + "a.mp4,cat\n", "2 values for 3 columns"),
        (HEAD + 'a.mp4,"cat,train\n', "line"),
        (TIMES + "a.mp4,cat,train,nan,2\n", "start_s is nan"),
        (TIMES + "a.mp4,cat,train,0,inf\n", "end_s is inf"),
        (TIMES + "a.mp4,cat,train,-1,2\n", "start_s is -1"),
        (TIMES + "a.mp4,cat,train,2,2\n", "not after"),
        (TIMES + "a.mp4,cat,train,,0\n", "not after"),
        (TIMES + "a.mp4,cat,train,x,2\n", "number of seconds"),
        (b"path,labels,split\n\xff.mp4,cat,train\n", "not UTF-8"),
        ('path,labels,split,box\na.mp4,cat,train,"0,0,2,1"\n', "box"),
        ('path,labels,split,box\na.mp4,cat,train,"0,0,nan,1"\n', "box"),
        ('path,labels,split,box\na.mp4,cat|dog,train,"0,0,1,1"\n', "1 boxes for 2 labels"),
        ("path,labels,split,audio_present\na.mp4,cat,train,maybe\n", "audio_present"),
    ],
)
def test_wrong_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        read_source(table(tmp_path, text))
    assert "\n" not in str(error.value)


def test_wrong_files(tmp_path):
    with input_error("wrong-format", "list.txt"):
        read_source(table(tmp_path, "x", "list.txt"))
    with input_error("wrong-format", "list.parquet"):
        read_source(table(tmp_path, "x", "list.parquet"))


# --- the table as a whole ---


def test_the_hash_does_not_depend_on_the_order():
    clips = [
        Clip(id=f"{i}.mp4", path=Path(f"/{i}.mp4"), labels=(f"c{i % 3}",), split="train")
        for i in range(12)
    ]
    first = make_table(clips, alphabetical=True, what="list")
    random.Random(0).shuffle(clips)
    second = make_table(clips, alphabetical=True, what="list")
    assert first.list_hash == second.list_hash
    assert first.class_names == second.class_names
    clips[0] = Clip(id=clips[0].id, path=clips[0].path, labels=("c9",), split="train")
    assert make_table(clips, alphabetical=True, what="list").list_hash != first.list_hash
