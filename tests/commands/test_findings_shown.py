"""What `prepare` and `inspect` print of odd sources: the most severe first, at 80 columns."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pyarrow.parquet as pq
import pytest

from cign.data.formats import read_source
from cign.data.store import Store
from cign.utils.file_text import unescape_name

ODD_NAME = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")


def film(path: Path, hz: int, seconds: float = 4) -> None:
    """A moving image with a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = (
        f"-y -v error -f lavfi -i testsrc2=size=64x64:rate=10:duration={seconds} "
        f"-f lavfi -i sine=frequency={hz}:duration={seconds} "
        "-c:v libx264 -preset ultrafast -c:a aac"
    )
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *command.split(), path], check=True)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Three classes in split folders, with every kind of trouble."""
    root = tmp_path_factory.mktemp("zoo") / "zoo"
    for number, label in enumerate(("dog", "cat", "bee")):
        for i in range(3):
            film(root / "Train" / label / f"{i}.mp4", 300 + 100 * number + 30 * i)
    film(root / "Train" / "bee" / "brief.mp4", 900, 1)
    film(root / "Test" / "dog" / "9.mp4", 1000)
    film(root / "Val" / "dog" / "8.mp4", 1100)
    film(root / "Val" / "cat" / "8.mp4", 1200)
    train = root / "Train"
    shutil.copy(train / "dog" / "1.mp4", root / "Test" / "dog" / "again.mp4")
    shutil.copy(train / "cat" / "1.mp4", train / "cat" / ODD_NAME)
    (train / "cat" / "text.mp4").write_text("not a film")
    (train / "cat" / "empty.mp4").touch()
    (train / "cat" / "gone.mp4").symlink_to(root / "nowhere.mp4")
    (train / "cat" / "notes.txt").write_text("hello")
    (train / "cat" / "x.mp4").mkdir()
    return root


@pytest.fixture(scope="module")
def store(zoo, tmp_path_factory):
    return tmp_path_factory.mktemp("stores") / "store"


@pytest.fixture(scope="module")
def printed(zoo, store, tmp_path_factory):
    """Standard output of `prepare`, in a process of its own."""
    return cign_process("prepare", zoo, store, "--backbone", "none", "--workers", "1")


def cign_process(*arguments, code=0, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "cign", *arguments],
        capture_output=True,
        env={**os.environ, "COLUMNS": "80", **environment},
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode()


def test_the_severe_comes_first_and_the_harmless_last(printed, store):
    order = [
        ": 15 of 18 clips usable",
        "left out: 3 of 18 clips",
        "    Train/cat/text.mp4\n",
        "missing (1): the file does not exist\n    Train/cat/gone.mp4\n",
        "warning: 1 clip has the same content as one in another split",
        "Train/dog/1.mp4 (train): same content as Test/dog/again.mp4 in test",
        "2 of 3 classes have no test clip and get no accuracy: bee, cat\n",
        "1 of 3 classes have no validation clip and are ignored",
        "split   clips per class",
        "used, but suspicious: 1 clip\n",
        "duplicate (1): same content as Train/cat/1.mp4 in train\n    Train/cat/caf\\xe9.mp4\n",
        "harmless: 1 shorter than the window, 14 long\n",
        f"full list, file by file: {store}/problems.csv\n",
    ]
    places = [printed.index(part) for part in order]
    assert places == sorted(places)
    assert max(len(line) for line in printed.splitlines() if str(store) not in line) <= 80


def test_problems_are_in_csv_as_in_parquet(printed, store, zoo):
    with (store / "problems.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kept"] for row in rows} == {"true", "false"}
    same = [{**row, "kept": row["kept"] == "true"} for row in rows]
    assert same == pq.read_table(store / "problems.parquet").to_pylist()
    told = [(row["condition"], row["clip"]) for row in rows]
    assert set(told[:3]) == {
        ("unreadable", "Train/cat/empty.mp4"),
        ("unreadable", "Train/cat/text.mp4"),
        ("missing", "Train/cat/gone.mp4"),
    }
    assert told[3] == ("duplicate", "Train/dog/1.mp4")
    assert set(told[4:]) == {
        ("duplicate", r"Train/cat/caf\xe9.mp4"),
        ("short", "Train/bee/brief.mp4"),
        ("ignored", "Train/cat/notes.txt"),
        ("ignored", "Train/cat/x.mp4"),
    }
    files = [zoo / unescape_name(row["clip"]) for row in rows]
    assert [file.name for file in files if not file.exists()] == ["gone.mp4"]


def test_inspect_says_the_same_of_the_source_and_of_the_store(printed, zoo, store, cign):
    code, decoded, _ = cign("inspect", zoo, "--decode")
    assert code == 0
    code, stored, _ = cign("inspect", store)
    assert code == 0
    severe = printed[printed.index("left out") : printed.index("2 of 3 classes")]
    for out in (decoded, stored):
        assert severe in out
        assert "\n2 of 3 classes have no test clip and get no accuracy: bee, cat\n" in out
        assert out.index("left out") < out.index("all labels") < out.index("harmless: 1 shorter")
        assert "no two splits" not in out
    code, listed, _ = cign("inspect", zoo)
    assert "\n1 of 18 files are missing: Train/cat/gone.mp4\n" in listed
    assert "left out" not in listed


def test_json_and_tables_hold_names_that_are_not_utf8(printed, zoo, store, cign, tmp_path):
    for source in (zoo, store):
        text = cign_process("inspect", source, "--json", LC_ALL="C.UTF-8")
        facts = json.loads(text)
        assert {"path": "Train/cat/notes.txt", "reason": "not media"} in facts["ignored"]
    (odd,) = [p for p in facts["problems"] if "caf" in p["clip"]]
    assert unescape_name(odd["clip"]) == f"Train/cat/{ODD_NAME}"
    table = tmp_path / "list.csv"
    code, _, _ = cign("inspect", zoo, "--write-table", table, "--media", zoo)
    assert code == 2  # folders hold their own media
    assert cign("inspect", zoo, "--write-table", table)[0] == 0
    before, after = read_source(zoo), read_source(table, media=[zoo])
    assert {clip.path for clip in after.clips} == {clip.path for clip in before.clips}
    assert zoo / "Train" / "cat" / ODD_NAME in {clip.path for clip in after.clips}


def test_a_source_whose_own_name_is_not_utf8(zoo, cign, tmp_path):
    source = tmp_path / ODD_NAME.removesuffix(".mp4")
    shutil.copytree(zoo / "Train", source, symlinks=True)
    store = tmp_path / f"store {ODD_NAME}"
    code, out, error = cign("prepare", source, store, "--backbone", "none", "--workers", "0")
    assert code == 0, error
    assert out.encode()
    assert r"store caf\xe9.mp4/problems.csv" in out
    assert json.loads((store / "store.json").read_text())["source"] == str(tmp_path / r"caf\xe9")
    code, out, _ = cign("inspect", store, "--json")
    assert json.loads(out)["path"].endswith(r"store caf\xe9.mp4")
    assert all(clip.path.is_file() for clip in Store.open(store).table.clips)


def lay_out(folder, **splits):
    """Empty clips: as many of each class in each split as told."""
    for split, classes in splits.items():
        for label, number in classes.items():
            for i in range(number):
                path = folder / split / label / f"{split}{i}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    return folder


def test_no_test_clip_at_all_is_said_in_words(cign, tmp_path):
    source = lay_out(tmp_path / "zoo", train={"a": 1, "b": 1})
    out = cign("inspect", source)[1]
    assert "\nno test clip at all: no accuracy can be measured\n" in out
    assert "\nno validation clip at all: the model will have no unknown threshold\n" in out
    table = tmp_path / "list.csv"
    table.write_text("path,labels,split\na.mp4,a,test\nb.mp4,b,test\n")
    assert "\nno training clip at all: no model can be trained" in cign("inspect", table)[1]


def test_many_classes_without_test_clips_are_counted(cign, tmp_path):
    names = {f"class {number:02}": 1 for number in range(30)}
    out = cign("inspect", lay_out(tmp_path / "zoo", train=names, test={"class 29": 1}))[1]
    part = out[out.index("29 of 30") : out.index("no validation")]
    assert " ".join(part.split()) == (
        "29 of 30 classes have no test clip and get no accuracy: class 00, class 01, class 02, "
        "class 03, class 04, class 05, class 06, class 07 and 21 more"
    )
    assert max(map(len, part.splitlines())) <= 80


def test_a_source_without_trouble_says_so(cign, tmp_path):
    each = {"a": 1, "b": 1}
    source = lay_out(tmp_path / "zoo", train=each, val=each, test=each)
    out, error = cign("inspect", source)[1:]
    assert "no two splits share a recording" in out
    assert " no " not in out.replace("no two splits", "")
    assert error == ""
