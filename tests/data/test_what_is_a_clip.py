"""Which files of a source are clips: by content, wherever they lie, whatever they are called."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time

import numpy as np
import pytest

from cign.app.uploads import check_upload
from cign.data.formats import read_source
from cign.data.formats.lookup import WHOLE_OR_TRIMMED, YOUTUBE_CLIP, MediaFinder, Name
from cign.data.media.recognition import MEDIA_SUFFIXES, is_media, kind_of
from cign.data.prepare.inspection import inspect_source
from cign.data.prepare.pipeline import prepare
from refusals import input_error

from .conftest import SPEC, by_id, ffmpeg, touch

# Containers by the arguments of ffmpeg: the suffix tells nothing of them here.
SOUND_ONLY = {
    "caf": "-vn -f caf",
    "mka": "-vn -f matroska",
    "aif": "-vn -f aiff",
    "mp2": "-vn -f mp2",
    "wv": "-vn -c:a wavpack -f wv",
    "m4b": "-vn -c:a aac -f ipod",
    "au": "-vn -f au",
    "tta": "-vn -c:a tta -f tta",
}
WITH_PICTURE = {
    "asf": "-c:v wmv2 -c:a wmav2 -f asf",
    "nut": "-c:v mpeg4 -c:a mp2 -f nut",
    "h264": "-an -c:v libx264 -f h264",
    "y4m": "-an -f yuv4mpegpipe",
}


@pytest.fixture(scope="module")
def odd(media, tmp_path_factory):
    """A file of each container, named by its kind without a suffix."""
    folder = tmp_path_factory.mktemp("odd")
    plain = media("plain.mp4")
    for name, how in (SOUND_ONLY | WITH_PICTURE).items():
        ffmpeg("-i", str(plain), "-t", "1", *how.split(), str(folder / name))
    return folder


@pytest.fixture(scope="module")
def others(media, tmp_path_factory):
    """Files that are not media: texts, images, arrays, archives, noise."""
    folder = tmp_path_factory.mktemp("others")
    plain = media("plain.mp4")
    for suffix in ("jpg", "png", "bmp", "webp", "tiff"):
        ffmpeg("-i", str(plain), "-frames:v", "1", str(folder / f"picture.{suffix}"))
        shutil.copy(folder / f"picture.{suffix}", folder / f"picture_{suffix}")
    (folder / "notes.txt").write_text("hello, wörld\n" * 100)
    (folder / "notes").write_text("hello\n")
    (folder / "clip.json").write_text(json.dumps({"labels": [1] * 5000}))
    (folder / "clip.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nhello\n\n")
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nplain.mp4\n")
    (folder / "empty").touch()
    rng = np.random.default_rng(0)
    np.save(folder / "a.npy", rng.random((50, 50)))
    np.save(folder / "zeros.npy", np.zeros((500, 500), np.uint8))
    for number in range(5):
        (folder / f"noise{number}.bin").write_bytes(rng.bytes(100_000))
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "a.npy", "a.npy")
    return folder


@pytest.mark.parametrize("name", [*SOUND_ONLY, *WITH_PICTURE])
def test_the_content_says_what_is_media(name, odd, tmp_path):
    expected = "audio" if name in SOUND_ONLY else "video"
    for other in ("clip", "clip.xyz", "clip.json", "clip.v2"):
        path = tmp_path / other
        shutil.copy(odd / name, path)
        assert kind_of(path) == expected
        assert is_media(path)


def test_what_is_not_media(others):
    for path in others.iterdir():
        assert not is_media(path), path


def test_a_known_suffix_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("cign.data.media.recognition.kind_of", None)  # whatever calls it fails
    assert all(is_media(tmp_path / f"clip{suffix.upper()}") for suffix in MEDIA_SUFFIXES)


def test_class_folders_hold_media_of_any_name(odd, others, tmp_path):
    shutil.copytree(odd, tmp_path / "dog")
    shutil.copytree(others, tmp_path / "cat" / "day1")
    for suffix in (".mp4", ".caf"):
        shutil.copy(odd / "caf", tmp_path / "cat" / f"clip{suffix}")
    read = read_source(tmp_path)
    assert set(by_id(read)) == {
        *(f"dog/{name}" for name in SOUND_ONLY | WITH_PICTURE),
        *("cat/clip.mp4", "cat/clip.caf"),
    }
    assert {path for path, _ in read.ignored} == {
        f"cat/day1/{path.name}" for path in others.iterdir()
    }
    assert {reason for _, reason in read.ignored} == {"not media"}
    assert read.notes == (
        f"{len(read.ignored)} files that are not media were ignored: cat/day1/a.npy, "
        f"cat/day1/a.tar.gz, cat/day1/clip.json and {len(read.ignored) - 3} more",
    )


def test_lists_find_media_of_any_suffix(odd, others, tmp_path):
    shutil.copy(odd / "asf", tmp_path / "a_000030.xyz")
    shutil.copy(odd / "caf", tmp_path / "b_30")
    shutil.copy(odd / "mka", tmp_path / "c_30_40.abc")
    shutil.copy(others / "noise0.bin", tmp_path / "d_30.bin")
    shutil.copy(others / "notes.txt", tmp_path / "e_30.txt")
    shutil.copy(others / "notes.txt", tmp_path / "f_000030.txt")
    shutil.copy(odd / "nut", tmp_path / "f_30.mp4")
    finder = MediaFinder([tmp_path], YOUTUBE_CLIP)
    found = {v: finder.find(Name(v, 30, 40), f"{v}_000030").name for v in "abcdef"}
    assert found == {
        **{"a": "a_000030.xyz", "b": "b_30", "c": "c_30_40.abc"},
        **{"d": "d_000030.mp4", "e": "e_000030.mp4", "f": "f_30.mp4"},
    }
    trimmed = MediaFinder([tmp_path], WHOLE_OR_TRIMMED)
    assert trimmed.find(Name("c"), "c").name == "c_30_40.abc"
    assert trimmed.find(Name("d"), "d").name == "d.mp4"
    shutil.copy(others / "notes.txt", tmp_path / "c_10_20.txt")
    trimmed = MediaFinder([tmp_path], WHOLE_OR_TRIMMED)
    assert trimmed.find(Name("c"), "c").name == "c_30_40.abc"


def test_shards_hold_media_of_any_suffix(odd, others, tmp_path):
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for key, name in (("0", "asf"), ("1", "caf"), ("2", "y4m"), ("3", "mka")):
            tar.add(odd / name, f"{key}.xyz")
            tar.add(others / "a.npy", f"{key}.npy")
            (tmp_path / "cls").write_text("ab"[int(key) % 2])
            tar.add(tmp_path / "cls", f"{key}.cls")
        tar.add(others / "noise0.bin", "4.bin")
        tar.add(tmp_path / "cls", "4.cls")
    read = read_source(tmp_path / "train-0.tar")
    assert [clip.path.name for clip in read.clips] == [f"{key}.xyz" for key in "0123"]
    report = prepare(
        tmp_path / "train-0.tar",
        tmp_path / "store",
        spec=SPEC,
        num_workers=0,
    )
    assert report.num_usable == 4
    assert report.conditions["one modality"] == 3


def test_uploads_are_media_of_any_suffix(odd, others, tmp_path):
    shutil.copy(odd / "asf", tmp_path / "clip.xyz")
    assert check_upload(tmp_path / "clip.xyz", tmp_path) == (tmp_path / "clip.xyz").resolve()
    shutil.copy(others / "noise0.bin", tmp_path / "noise.bin")
    with input_error("bad-clip", "noise.bin"):
        check_upload(tmp_path / "noise.bin", tmp_path)


def test_hidden_folders_and_files_hold_no_clips(tmp_path):
    touch(
        tmp_path,
        *(f"{name}/{i}.mp4" for name in ("dog", "cat") for i in range(3)),
        *("dog/.trash/0.mp4", "dog/.ipynb_checkpoints/0.mp4", "dog/a/.b/0.mp4", "dog/._0.mp4"),
        *(".hidden/0.mp4", "dog/day1/3.mp4"),
    )
    read = read_source(tmp_path)
    assert set(by_id(read)) == {
        *(f"{name}/{i}.mp4" for name in ("dog", "cat") for i in range(3)),
        "dog/day1/3.mp4",
    }
    assert read.notes == ()


def test_links_to_nothing_and_folders_named_like_media_are_told(media, tmp_path):
    plain = media("plain.mp4")
    for name in ("dog/1.mp4", "dog/2.mp4", "cat/1.mp4", "cat/film.mp4/part.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(plain, tmp_path / name)
    (tmp_path / "dog" / "gone.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    (tmp_path / "dog" / "gone").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dog" / "empty.MKV").mkdir()
    shutil.copy(plain, tmp_path / "loose.mp4")
    (tmp_path / "bird").mkdir()
    os.mkfifo(tmp_path / "dog" / "pipe.mp4")  # opening it would wait for ever
    os.mkfifo(tmp_path / "dog" / "pipe")
    read = read_source(tmp_path)
    assert set(by_id(read)) == {
        *("cat/1.mp4", "cat/film.mp4/part.mp4", "dog/1.mp4", "dog/2.mp4", "dog/gone.mp4"),
    }
    assert set(read.ignored) == {
        ("cat/film.mp4", "a folder named like a media file"),
        ("dog/empty.MKV", "a folder named like a media file"),
        ("dog/gone", "a dangling link"),
        ("dog/pipe", "neither a file nor a folder"),
        ("dog/pipe.mp4", "neither a file nor a folder"),
        ("loose.mp4", "media outside the class folders"),
        ("bird", "a class folder without media"),
    }
    assert len(read.notes) == 5
    found = inspect_source(tmp_path)
    assert (found.num_missing, found.missing) == (1, ("dog/gone.mp4",))
    report = prepare(tmp_path, tmp_path.parent / "store", spec=SPEC, num_workers=0)
    assert report.conditions["missing"] == 1


def test_scanning_opens_no_file_of_a_known_suffix(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in "ab" for i in range(3000)))
    for name in "ab":
        for i in range(1000):
            (tmp_path / name / f"{i}.json").write_text("{}")
    started = time.process_time()
    read = read_source(tmp_path)
    assert time.process_time() - started < 3
    assert (len(read.clips), len(read.ignored)) == (6000, 2000)
