"""Watched folders: complete files, each once, also after a restart."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from cign.data.media.side_by_side import Pause
from cign.inference.predicted_files import PredictedFiles
from cign.inference.watching import FolderWatcher
from refusals import input_error


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


class Clock:
    """Scans a folder at given times."""

    def __init__(self, folder, done=None, settle_s=2.0):
        self.remarks = []
        self.done = PredictedFiles(None) if done is None else done
        self.watcher = FolderWatcher(
            [folder],
            self.done,
            settle_s=settle_s,
            remark=lambda name, text: self.remarks.append((name, text)),
        )

    def at(self, *times_s):
        """Names found at times; they are predicted at once."""
        found = []
        for time_s in times_s:
            for name in self.watcher.scan(time_s):
                found.append(name)
                self.watcher.finished(name)
        return [Path(name).name for name in found]


def test_a_file_is_predicted_once_when_it_stops_growing(folder):
    clock = Clock(folder)
    (folder / "a.wav").write_bytes(b"1")
    assert clock.at(0, 1) == []
    (folder / "a.wav").write_bytes(b"12")
    assert clock.at(2, 3.5) == []
    assert clock.at(4, 5, 6) == ["a.wav"]
    assert clock.at(7, 100) == []


def test_hidden_empty_and_other_files_are_left_alone(folder):
    clock = Clock(folder)
    for name, content in ((".a.wav.part", b"1"), ("empty.wav", b""), ("note.txt", b"text")):
        (folder / name).write_bytes(content)
    (folder / "deep").mkdir()
    (folder / "deep" / "b.mp4").write_bytes(b"1")
    (folder / "deep" / "loop").symlink_to(folder)
    assert clock.at(0, 3, 6) == ["b.mp4"]
    (folder / ".a.wav.part").rename(folder / "a.wav")  # renamed into place
    assert clock.at(7, 8) == []
    assert clock.at(9.5) == ["a.wav"]


def test_another_content_under_the_same_name_is_predicted_again(folder):
    clock = Clock(folder)
    (folder / "a.wav").write_bytes(b"1")
    assert clock.at(0, 3) == ["a.wav"]
    (folder / "a.wav").write_bytes(b"another")
    assert clock.at(4, 7) == ["a.wav"]
    assert clock.remarks == [(str(folder / "a.wav"), "it has changed since and is predicted again")]


def test_a_file_that_never_finishes_is_reported_once(folder):
    clock = Clock(folder)
    for time_s in range(0, 200, 1):
        with (folder / "endless.ts").open("ab") as file:
            file.write(b"1")
        assert clock.at(time_s) == []
    ((name, text),) = clock.remarks
    assert name.endswith("endless.ts")
    assert text.startswith("it has been growing for 60 s")


def test_a_folder_that_disappears_is_waited_for(folder, tmp_path):
    clock = Clock(folder)
    (folder / "a.wav").write_bytes(b"1")
    assert clock.at(0, 3) == ["a.wav"]
    folder.rename(tmp_path / "away")
    assert clock.at(4, 5, 9) == []
    (tmp_path / "away").rename(folder)
    (folder / "b.wav").write_bytes(b"1")
    assert clock.at(10, 13) == ["b.wav"]
    assert [text for _, text in clock.remarks] == [
        "the folder has disappeared: waiting until it is back",
        "the folder is back after 6 s",
    ]


def test_a_restart_goes_on(folder, tmp_path, monkeypatch):
    state = tmp_path / "state.jsonl"
    odd = os.fsdecode(b"caf\xe9 [1].wav")
    for name in ("a.wav", odd):
        (folder / name).write_bytes(b"1")
    with PredictedFiles(state, [folder]) as done:
        assert Clock(folder, done).at(0, 3) == ["a.wav", odd]
    (folder / "b.wav").write_bytes(b"1")
    monkeypatch.chdir(tmp_path)  # names relative to another folder are the same files
    with PredictedFiles(state, [folder]) as done:
        assert Clock(folder.relative_to(tmp_path), done).at(0, 3) == ["b.wav"]
    # What a crash cut off is predicted once more, and only that.
    state.write_bytes(state.read_bytes()[:-20])
    with PredictedFiles(state, [folder]) as done:
        assert Clock(folder, done).at(0, 3) == ["b.wav"]
    for name in ("a.wav", "b.wav"):
        (folder / name).unlink()
    with PredictedFiles(state, [folder]) as done:
        assert len(done) == 1
    shutil.rmtree(folder)  # not mounted: nothing is forgotten
    with PredictedFiles(state, [folder]) as done:
        assert len(done) == 1


def test_state_files_that_cannot_be_used(folder, tmp_path):
    state = tmp_path / "state.jsonl"
    with (
        PredictedFiles(state, [folder]),
        input_error("busy", "another process"),
        PredictedFiles(state, [folder]),
    ):
        pass
    for content in (b"clips\n", b"\xff\xfe", json.dumps({"cign": "else"}).encode()):
        state.write_bytes(content)
        with input_error("wrong-format", "delete it"), PredictedFiles(state, [folder]):
            pass
        assert state.read_bytes() == content
    (folder / "a.wav").write_bytes(b"")
    with input_error("bad-output", "name another"):
        PredictedFiles(folder / "a.wav" / "b")


def test_names_are_recorded_when_more_is_asked_for(folder):
    clock = Clock(folder, settle_s=0.01)
    (folder / "a.wav").write_bytes(b"1")
    names, found = clock.watcher.names(), []
    while not found:
        found = [one for one in [next(names)] if not isinstance(one, Pause)]
    assert len(clock.done) == 0  # not yet written
    assert isinstance(next(names), Pause)
    assert len(clock.done) == 0
    next(names)
    assert len(clock.done) == 1


def test_the_time_of_predictions_does_not_delay_the_next_look(folder, monkeypatch):
    """Only the search of the folders is kept to a share of the time."""
    clock = Clock(folder, settle_s=0.01)
    for name in "abc":
        (folder / f"{name}.wav").write_bytes(b"1")
    real, waits = time.sleep, []
    monkeypatch.setattr(
        "cign.inference.watching.time.sleep", lambda s: (waits.append(s), real(0.01))
    )
    names = []
    for one in clock.watcher.names(lambda: len(names) == 3 and len(waits) > 2):
        if not isinstance(one, Pause):
            names.append(one)
            real(0.3)  # its prediction
    assert len(names) == 3
    assert max(waits) < 0.3
