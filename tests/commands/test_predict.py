"""`cign predict`: what it takes, prints and says; readers that leave early, names that arrive."""

import csv
import fcntl
import io
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from cign.utils.file_text import unescape_name

from .adding import refused

CIGN = [sys.executable, "-m", "cign", "predict"]


def predict(*arguments, **how):
    """Run the command in a process of its own."""
    return subprocess.run([*CIGN, *map(str, arguments)], timeout=120, check=False, **how)


# Calls the command with each list of options in turn, in one process, for a start takes seconds.
IN_TURN = r"""
import json, sys
from cign.cli.entry_point import main
codes = []
for options in json.loads(sys.argv[1]):
    codes.append(main(["predict", *sys.argv[2:], *options]))
    for stream in (sys.stdout, sys.stderr):
        print("\f", file=stream, flush=True)
sys.exit(max(codes))
"""


def in_turn(options):
    """Command that calls `cign predict` with each list of options; what follows it is common."""
    return [sys.executable, "-c", IN_TURN, json.dumps(options)]


def on_terminal(columns, options, *arguments):
    """What a terminal of so many columns shows of standard output, and standard error apart.

    Gives a pair for each list of options.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [*in_turn(options), *map(str, arguments)]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=env) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        err = child.stderr.read()
    os.close(ours)
    assert child.returncode == 0, err
    parts = shown.decode().replace("\r\n", "\n").split("\f\n"), err.decode().split("\f\n")
    *pairs, rest = zip(*parts, strict=True)
    assert rest == ("", "")
    return pairs


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_a_terminal_shows_rows_that_fit(world, tmp_path, columns):
    long = tmp_path / "a-folder-with-a-long-name" / "and-another-one"
    long.mkdir(parents=True)
    for number, clip in enumerate(world.test_clips()[:2]):
        shutil.copy(clip, long / f"recording-of-the-day-part-{number}.mp4")
    (out, err), (wide, wide_err) = on_terminal(columns, [[], ["--wide"]], world.run, long)
    lines = out.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[:4] == ["file", "label", "probability", "unknown"]
    ends = [line.split()[0][-10:] for line in lines[2:] if ".mp4" in line.split()[0]]
    assert ends == ["part-0.mp4", "part-1.mp4"]
    assert "the unknown threshold is based on" in err
    assert ("--wide shows all columns" in err) == ("audio-visual" not in lines[0])
    assert str(long / "recording-of-the-day-part-0.mp4") in wide
    assert "audio-visual" in wide.splitlines()[0]
    assert "--wide" not in wide_err


def test_a_pipe_gets_the_first_four_columns_and_all_with_wide(cign, world):
    clip = world.test_clips()[0]
    code, out, err = cign("predict", world.run, clip)
    assert (code, out.splitlines()[0].split()[:4]) == (
        0,
        ["file", "label", "probability", "unknown"],
    )
    assert "audio-visual" not in out
    assert out.splitlines()[2].startswith(clip)
    assert "not shown: seconds, audio, visual, unknown score, audio-visual; --wide" in err
    _, wide, err = cign("predict", world.run, clip, "--wide")
    assert "audio-visual" in wide.splitlines()[0]
    assert "not shown" not in err


def test_folders_and_patterns_are_searched(cign, world, tmp_path):
    folder = tmp_path / "clips"
    (folder / "inside").mkdir(parents=True)
    clips = world.test_clips()[:3]
    for clip, name in zip(clips, ("a.mp4", "inside/b.mp4", "inside/.c.mp4"), strict=True):
        shutil.copy(clip, folder / name)
    (folder / "notes.txt").write_text("no clip")
    code, out, _ = cign(
        "predict", world.run, folder, f"{folder}/*.mp4", f"{folder}/*.ogg", "--json"
    )
    assert code == 0
    assert [(one["file"], one["error"], one["error_code"]) for one in json.loads(out)] == [
        (f"{folder}/a.mp4", None, None),
        (f"{folder}/inside/b.mp4", None, None),
        (f"{folder}/a.mp4", None, None),
        (f"{folder}/*.ogg", "missing: no media file matches this pattern", "file-missing"),
    ]
    (tmp_path / "empty").mkdir()
    code, _, err = cign("predict", world.run, tmp_path / "empty")
    assert code == 2
    assert "none of the 1 files could be read (missing: this folder holds no media file)" in err


def test_json_lines_come_while_names_still_arrive(world, tmp_path):
    """One name is written, and its line is read before the next one is written."""
    clips = world.test_clips()[:2]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a clip")
    command = [*CIGN, str(world.run), "-", "--jsonl"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        for name in (clips[0], str(broken), clips[1]):
            child.stdin.write(f"{name}\n".encode())
            child.stdin.flush()
            one = json.loads(child.stdout.readline())
            assert one["file"] == name
            assert (one["label"] is None) == (name == str(broken))
        child.stdin.close()
        assert child.stdout.read() == b""
        child.stderr.read()
    assert child.returncode == 0


@pytest.fixture
def standard_input(monkeypatch):
    """Make standard input hold these bytes."""

    def hold(data):
        read, write = os.pipe()
        os.write(write, data)
        os.close(write)
        monkeypatch.setattr(sys, "stdin", os.fdopen(read))

    yield hold
    sys.stdin.close()


def files_of(text, form):
    """What an output says of each file."""
    if form == "--csv":
        return list(csv.DictReader(io.StringIO(text)))
    return json.loads(text) if form == "--json" else list(map(json.loads, text.splitlines()))


@pytest.mark.parametrize("form", ["--jsonl", "--json", "--csv"])
def test_names_from_standard_input_in_other_forms(cign, world, form, standard_input):
    first, second = world.test_clips()[:2]
    standard_input(b"\xef\xbb\xbf" + os.fsencode(first) + b"\0" + os.fsencode(second) + b"\0")
    code, out, err = cign("predict", world.run, "-", form)
    assert code == 0, err
    assert [one["file"] for one in files_of(out, form)] == [first, second]


def test_no_name_on_standard_input_is_said(cign, world, standard_input):
    standard_input(b"\n")
    code, _, err = cign("predict", world.run, "-", "--jsonl")
    assert code == 2
    assert "no file name on standard input: write one name per line" in err


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_names_that_are_not_utf8_are_text_that_leads_back_to_them(world, tmp_path, locale):
    raw = os.fsencode(tmp_path) + b"/caf\xe9 \xe7\x8c\xab.mp4"
    shutil.copy(world.test_clips()[0], os.fsdecode(raw))
    env = {**os.environ, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    forms = ("--json", "--jsonl", "--csv")
    command = [*map(os.fsencode, in_turn([[form] for form in forms] + [[]]))]
    command += [os.fsencode(world.run), raw]
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    *texts, table, rest = done.stdout.decode("utf-8").split("\f\n")
    assert rest == ""
    for form, text in zip(forms, texts, strict=True):
        (one,) = files_of(text, form)
        assert os.fsencode(unescape_name(one["file"])) == raw
        assert one["label"]
    assert r"caf\xe9" in table
    assert table.splitlines()[1][0] == {"C": "-"}.get(locale, "─")


@pytest.mark.parametrize("kind", ["png", "mp4"])
def test_pictures_and_films_are_all_made_when_the_reader_leaves(world, tmp_path, kind):
    clips = world.test_clips()[:4]
    options = ["--explain", tmp_path / "drawn", "--explain-as", kind]
    if kind == "mp4":
        options += ["--every", "0.5"]
    command = [*CIGN, *map(str, (world.run, *clips, *options, "--jsonl"))]
    err = (tmp_path / "err").open("wb")
    with err, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err) as child:
        child.stdout.readline()
        child.stdout.close()
    assert child.returncode == 0
    drawn = sorted((tmp_path / "drawn").glob(f"*.{kind}"))
    assert len(drawn) == 4
    assert all(path.stat().st_size > 1000 for path in drawn)
    kinds = {"png": "images", "mp4": "videos"}
    assert f"4 {kinds[kind]} in {tmp_path / 'drawn'}" in (tmp_path / "err").read_text()


def test_a_reader_of_both_streams_that_leaves_costs_no_picture(world, tmp_path):
    clips = world.test_clips()[:4]
    read, write = os.pipe()
    os.close(read)
    options = ["--explain", tmp_path / "drawn"]
    done = predict(world.run, *clips, *options, stdout=write, stderr=write)
    os.close(write)
    assert done.returncode == 0
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 4


def test_a_disk_that_fails_while_pictures_are_made_is_said(cign, world, tmp_path, monkeypatch):
    from cign.explain import canvas

    def save(self, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(canvas.Canvas, "save", save)
    code, _, err = cign("predict", world.run, *world.test_clips()[:1], "--explain", tmp_path / "x")
    assert code == 1
    assert "No space left on device" in err


def test_a_progress_bar_on_the_terminal_does_not_take_what_is_printed(world):
    ours, theirs = pty.openpty()
    clips = world.test_clips()[:2]
    done = predict(world.run, *clips, "--jsonl", stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == clips
    assert "predicting" in shown
    assert "modalities" not in shown


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--json", "--jsonl"], "--json and --jsonl exclude each other: choose one"),
        (["--csv", "--wide"], "--csv and --wide exclude each other: choose one"),
        (["--explain-as", "mp4"], "give --explain DIR"),
    ],
)
def test_options_that_would_be_ignored_are_refused(cign, world, options, part):
    refused(cign("predict", world.run, "x.mp4", *options), part)


def test_a_missing_model_is_said_before_standard_input_is_read(tmp_path):
    read, write = os.pipe()
    done = predict(tmp_path / "none", "-", stdin=read, capture_output=True)
    for end in (read, write):
        os.close(end)
    assert done.returncode == 2
    assert b"model not found" in done.stderr
    assert Path(tmp_path / "none").exists() is False
