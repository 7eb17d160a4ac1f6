"""Reading sources: every layout, every refusal."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cign.data.clips import Clip, ClipTable, make_table
from cign.data.formats import read_source
from cign.data.formats.folders import divide
from cign.errors import InputError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def table(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


GOOD = "path,labels,split\na.mp4,cat,train\nb.mp4,dog,train\nc.mp4,cat,test\n"


def by_id(read: ClipTable) -> dict[str, Clip]:
    return {clip.id: clip for clip in read.clips}


# --- folders ---


def test_split_folders(tmp_path):
    touch(
        tmp_path,
        *("train/zebra/1.mp4", "train/ape/2.mkv", "val/ape/3.mp4", "test/zebra/4.mp4"),
        *("unknown/eel/5.wav", "train/ape/notes.txt", "train/ape/.hidden.mp4"),
    )
    read = read_source(tmp_path)
    assert read.class_names == ("ape", "zebra")
    clips = by_id(read)
    assert clips["test/zebra/4.mp4"].split == "test"
    assert clips["test/zebra/4.mp4"].labels == ("zebra",)
    assert clips["train/ape/2.mkv"].path == tmp_path / "train/ape/2.mkv"
    assert clips["unknown/eel/5.wav"].split == "unknown"
    assert len(clips) == 5
    assert "1 files" in read.notes[0]
    assert read.counts()["train"] == {"ape": 1, "zebra": 1}


def test_a_folder_that_cannot_be_read_is_an_error_and_not_a_class_less(tmp_path, monkeypatch):
    touch(tmp_path, "ape/1.mp4", "bee/1.mp4", "bee/day/2.mp4")
    scandir = os.scandir

    def guarded(path):  # root may enter whatever it likes
        if str(path).endswith("day"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(InputError, match=r"bee/day cannot be read \(Permission denied\)"):
        read_source(tmp_path)


def test_linked_folders_are_read_and_a_link_upwards_ends(tmp_path):
    touch(tmp_path, "zoo/ape/1.mp4", "zoo/bee/1.mp4", "elsewhere/2.mp4", "elsewhere/deep/3.mp4")
    (tmp_path / "zoo" / "ape" / "day2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "zoo" / "ape")
    assert set(by_id(read_source(tmp_path / "zoo"))) == {
        *("ape/1.mp4", "ape/day2/2.mp4", "ape/day2/deep/3.mp4", "bee/1.mp4"),
    }


def test_an_at_in_a_name_is_part_of_it(tmp_path):
    names = [f"{label}/cam@{n:03}.mp4" for label in ("@ape", "bee") for n in range(10)]
    read = read_source(touch(tmp_path, *names))
    assert all(clip.source == clip.id for clip in read.clips)
    assert read.counts()["test"] == {"@ape": 2, "bee": 2}
    for part, source in (("a@1.mp4@0.5-2", "a@1.mp4"), ("a.mp4@-3", "a.mp4"), ("a@-", "a")):
        path = tmp_path / "x"
        assert Clip(id=part, path=path, labels=("x",), split="train").source == source


def test_accents_written_in_two_ways_are_one_class(tmp_path):
    read = read_source(touch(tmp_path, "caf\u00e9/1.mp4", "cafe\u0301/2.mp4", "tea/1.mp4"))
    assert read.class_names == ("caf\u00e9", "tea")
    assert len(read.clips) == 3


@pytest.mark.parametrize("num_clips", [1, 2, 3, 10, 37])
def test_class_folders_are_divided_70_10_20(tmp_path, num_clips):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in ("ape", "bee") for i in range(num_clips)))
    counts = read_source(tmp_path).counts()
    for name in ("ape", "bee"):
        assert counts.get("test", {}).get(name, 0) == pytest.approx(0.2 * num_clips, abs=0.51)
        assert counts.get("val", {}).get(name, 0) == pytest.approx(0.1 * num_clips, abs=0.51)
        assert counts["train"][name] >= 1


def test_the_division_depends_on_the_paths_alone(tmp_path):
    names = [f"{name}/{i}.mp4" for name in ("ape", "bee") for i in range(20)]
    touch(tmp_path / "one", *names)
    touch(tmp_path / "two", *reversed(names))
    one, two = read_source(tmp_path / "one"), read_source(tmp_path / "two")
    assert one.list_hash == two.list_hash
    assert {c.id: c.split for c in one.clips} == {c.id: c.split for c in two.clips}
    assert {c.split for c in one.clips if "ape" in c.labels} == {"train", "val", "test"}


def test_without_val_a_tenth_of_train_becomes_val(tmp_path):
    touch(
        tmp_path,
        *(f"train/{name}/{i}.mp4" for name in ("ape", "bee") for i in range(20)),
        *("test/ape/x.mp4", "test/bee/x.mp4"),
    )
    counts = read_source(tmp_path).counts()
    assert counts["val"] == {"ape": 2, "bee": 2}
    assert counts["train"] == {"ape": 18, "bee": 18}
    assert counts["test"] == {"ape": 1, "bee": 1}


def test_clips_of_one_source_stay_together():
    clips = [
        Clip(
            id=f"{i}.mp4", path=Path(f"/{i}.mp4"), labels=("a",), split="train", source=str(i // 4)
        )
        for i in range(80)
    ]
    splits: dict[str, set[str]] = {}
    for clip in divide(clips, {"val": 0.1, "test": 0.2}):
        splits.setdefault(clip.source, set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {next(iter(found)) for found in splits.values()} == {"train", "val", "test"}


def test_a_class_may_be_called_train(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in ("train", "bus") for i in range(5)))
    assert read_source(tmp_path).class_names == ("bus", "train")


@pytest.mark.parametrize("name", ["big cat's", 'the "dog"', "Катя", "猫", "a,b", "ö" * 40])
def test_names_with_odd_characters(tmp_path, name):
    touch(tmp_path, *(f"train/{name}/{name} {i}.mp4" for i in range(2)), "train/other/x.mp4")
    read = read_source(tmp_path)
    assert name in read.class_names
    assert all(clip.path.is_file() for clip in read.clips)


def test_wrong_folders(tmp_path):
    with pytest.raises(InputError, match="no media files"):
        read_source(touch(tmp_path / "empty", "readme.txt"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="no media files"):
        read_source(tmp_path / "bare")
    with pytest.raises(InputError, match="does not exist"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"'extra'.*not a split"):
        read_source(touch(tmp_path / "x", "train/a/1.mp4", "train/b/1.mp4", "extra/a/1.mp4"))
    with pytest.raises(InputError, match="only the class 'a'"):
        read_source(touch(tmp_path / "one", "train/a/1.mp4"))
    with pytest.raises(InputError, match="class 'b' has no training clip"):
        read_source(touch(tmp_path / "lost", "train/a/1.mp4", "train/c/1.mp4", "test/b/1.mp4"))
    with pytest.raises(InputError, match="class name"):
        read_source(touch(tmp_path / "line", "train/a\nb/1.mp4", "train/c/1.mp4"))
    with pytest.raises(InputError, match="unknown format"):
        read_source(tmp_path, format="none")
    with pytest.raises(InputError, match="media folder"):
        read_source(tmp_path, media=[tmp_path / "nowhere"])


def test_a_file_name_that_is_not_utf8(tmp_path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4")
    (tmp_path / "train" / "a" / b"\xff.mp4".decode("utf-8", "surrogateescape")).touch()
    with pytest.raises(InputError, match="not UTF-8"):
        read_source(tmp_path)


def test_one_new_class_may_be_added_and_test_clips_may_stand_alone(tmp_path):
    touch(tmp_path, "train/a/1.mp4")
    assert read_source(tmp_path, min_classes=1).class_names == ("a",)
    touch(tmp_path / "t", "test/a/1.mp4", "test/b/1.mp4", "train/c/1.mp4")
    assert read_source(tmp_path / "t", require_train=False).class_names == ("a", "b", "c")


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
        (HEAD + "a.mp4,cat,train\nc.mp4,cat,unknown\n", "'unknown' but its class 'cat'"),
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
    with pytest.raises(InputError, match="neither"):
        read_source(table(tmp_path, "x", "list.txt"))
    with pytest.raises(InputError, match="Parquet"):
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
