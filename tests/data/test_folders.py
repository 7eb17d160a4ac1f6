"""Reading folders of classes: every layout, every refusal."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cign.data.clips import Clip
from cign.data.formats import read_source
from cign.data.formats.folders import divide
from cign.errors import InputError
from cign.utils.file_text import unescape_name
from refusals import input_error

from .conftest import by_id, touch


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
    assert read.notes == ("1 file that is not media was ignored: train/ape/notes.txt",)
    assert read.counts()["train"] == {"ape": 1, "zebra": 1}


def test_a_folder_that_cannot_be_read_is_an_error_and_not_a_class_less(tmp_path, monkeypatch):
    touch(tmp_path, "ape/1.mp4", "bee/1.mp4", "bee/day/2.mp4")
    scandir = os.scandir

    def guarded(path):  # root may enter whatever it likes
        if str(path).endswith("day"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with input_error("file-unreadable", "bee/day", "Permission denied"):
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
    with input_error("no-clips", "empty"):
        read_source(touch(tmp_path / "empty", "readme.txt"))
    (tmp_path / "bare").mkdir()
    with input_error("no-clips", "bare"):
        read_source(tmp_path / "bare")
    with pytest.raises(InputError, match="does not exist"):
        read_source(tmp_path / "nowhere")
    with input_error("bad-list", "'extra'"):
        read_source(touch(tmp_path / "x", "train/a/1.mp4", "train/b/1.mp4", "extra/a/1.mp4"))
    with input_error("bad-list", "only the class 'a'"):
        read_source(touch(tmp_path / "one", "train/a/1.mp4"))
    with input_error("no-clips", "'b'"):
        read_source(touch(tmp_path / "lost", "train/a/1.mp4", "train/c/1.mp4", "test/b/1.mp4"))
    with input_error("bad-list", "'a\\nb'"):
        read_source(touch(tmp_path / "line", "train/a\nb/1.mp4", "train/c/1.mp4"))
    with input_error("unknown-name", "format"):
        read_source(tmp_path, format="none")
    with pytest.raises(InputError, match="media folder"):
        read_source(tmp_path, media=[tmp_path / "nowhere"])


def test_a_file_name_that_is_not_utf8_has_an_id_that_is(tmp_path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "train/a/\\xfe.mp4", "train/a/x\ny.mp4")
    path = tmp_path / "train" / "a" / b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    path.touch()
    clips = by_id(read_source(tmp_path))
    names = {"1.mp4", r"caf\xe9.mp4", r"\\xfe.mp4", r"x\x0ay.mp4"}
    assert set(clips) == {"train/b/1.mp4", *(f"train/a/{name}" for name in names)}
    assert clips[r"train/a/caf\xe9.mp4"].path == path
    for name, clip in clips.items():
        assert unescape_name(name) == clip.path.relative_to(tmp_path).as_posix()


def test_one_new_class_may_be_added_and_test_clips_may_stand_alone(tmp_path):
    touch(tmp_path, "train/a/1.mp4")
    assert read_source(tmp_path, min_classes=1).class_names == ("a",)
    touch(tmp_path / "t", "test/a/1.mp4", "test/b/1.mp4", "train/c/1.mp4")
    assert read_source(tmp_path / "t", require_train=False).class_names == ("a", "b", "c")
