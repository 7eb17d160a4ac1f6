"""What may be given to be predicted: files, folders and patterns; hidden entries are ignored."""

import os
import shutil
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from cign.data.media.array_clip import ArrayClip
from cign.errors import InputError
from cign.inference.inputs import NoFile, as_inputs
from refusals import input_error


@pytest.fixture(scope="module")
def wave(tmp_path_factory):
    """A second of a tone, by ffmpeg."""
    path = tmp_path_factory.mktemp("wave") / "tone.wav"
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *tone, str(path)], check=True)
    return path


@pytest.fixture
def folder(wave, tmp_path):
    """Media at several depths beside all that is not to be taken."""
    place = tmp_path / "clips"
    for name in (
        *("b.wav", "a.MP4", "deep/er/c.mkv", "deep/no_suffix", "with [brackets].wav"),
        *(".hidden.wav", ".trash/d.wav", "deep/.er/e.wav"),
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(wave, place / name)
    (place / "notes.txt").write_text("not a clip\n" * 100)
    (place / "table.csv").write_text("path,labels\n")
    picture = ["-f", "lavfi", "-i", "testsrc2=size=64x64:duration=1", "-frames:v", "1"]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    for name in ("cover.jpg", "cover.png"):
        subprocess.run([*ffmpeg, *picture, str(place / name)], check=True)
    (place / "round").symlink_to(place, target_is_directory=True)
    return place


ALL = ["a.MP4", "b.wav", "with [brackets].wav", "deep/no_suffix", "deep/er/c.mkv"]


def test_a_folder_is_searched_for_media_without_hidden_entries(folder):
    wanted = [str(folder / name) for name in ALL]
    assert list(as_inputs(str(folder))) == wanted
    assert list(as_inputs(folder)) == wanted
    assert list(as_inputs([folder / "b.wav", folder / "deep"])) == [
        str(folder / name) for name in ("b.wav", "deep/no_suffix", "deep/er/c.mkv")
    ]


def test_a_folder_with_several_names_is_searched_once(wave, tmp_path):
    (tmp_path / "x").mkdir()
    shutil.copy(wave, tmp_path / "x" / "a.wav")
    (tmp_path / "y").symlink_to("x", target_is_directory=True)
    assert list(as_inputs(tmp_path)) == [str(tmp_path / "x" / "a.wav")]


def test_a_pattern_stands_for_the_names_that_match(folder):
    found = list(as_inputs(f"{folder}/*.wav"))
    assert found == [str(folder / name) for name in ("b.wav", "with [brackets].wav")]
    assert str(folder / "deep/er/c.mkv") in list(as_inputs(f"{folder}/**/*.mkv"))
    assert not any("/." in name for name in as_inputs(f"{folder}/**/*.wav"))
    # A file of that very name goes before the pattern, and a match that is a folder is searched.
    name = str(folder / "with [brackets].wav")
    assert list(as_inputs(name)) == [name]
    assert list(as_inputs(f"{folder}/dee?/e[r]")) == [str(folder / "deep/er/c.mkv")]


def test_what_stands_for_no_file_is_said_in_its_place(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    names = [str(folder / "b.wav"), str(tmp_path / "empty"), f"{folder}/*.ogg", "none.mp4"]
    assert list(as_inputs(names)) == [
        names[0],
        NoFile(names[1], "missing: this folder holds no media file", "file-missing"),
        NoFile(names[2], "missing: no media file matches this pattern", "file-missing"),
        "none.mp4",  # said when it is opened
    ]


def test_a_folder_that_may_not_be_read_is_said(folder, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("er"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list(as_inputs(folder))
    assert found[-1] == NoFile(
        str(folder / "deep/er"), "unreadable: Permission denied", "file-unreadable"
    )
    assert str(folder / "b.wav") in found


def test_other_values_are_refused_at_once_in_a_list_and_in_their_place_in_an_iterator():
    clip = ArrayClip(audio=np.zeros(16000, np.float32), rate_hz=16000)
    for wrong in (3, None, [clip, 3], ["a.mp4", np.zeros(3)]):
        with pytest.raises(InputError, match=r"cannot predict a value of type \w+: give a path"):
            as_inputs(wrong)
    items = as_inputs(iter([clip, 3]))
    assert next(items) is clip
    with input_error("bad-value", "int"):
        next(items)
