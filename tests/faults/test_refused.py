"""Folders that cannot be written, two processes on one folder, processes that die, memory."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from cign.data.media.decode import MediaSpec
from cign.data.prepare.worker import MAX_DATA_BYTES
from cign.data.prepare.workers import decode_all
from cign.utils.files import folder_lock
from cign.utils.leftovers import held_folder

SPEC = MediaSpec(frame_px=32, rate_hz=8000, window_s=1.0)


def as_nobody(place, what):
    """Run something in a child that may not write where it is not allowed to: root may."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            code = what()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def read_only(tmp_path_factory):
    """A folder that holds a file and lets nobody write, and is reachable by everybody."""
    folder = tmp_path_factory.mktemp("open") / "read-only"
    folder.mkdir()
    for parent in (folder, *folder.parents[:3]):
        if parent.owner() == folder.owner() and str(parent).startswith("/tmp"):
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH | stat.S_IXGRP)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_a_read_only_folder_is_one_sentence(read_only, tmp_path, capfd):
    from cign.errors import CignError

    def write():
        try:
            with held_folder(read_only / "run", "run folder"):
                return 1
        except PermissionError as error:
            from cign.cli.entry_point import _failed

            return 40 + _failed(error)
        except CignError:
            return 3

    assert as_nobody(read_only, write) == 41
    err = capfd.readouterr().err
    assert "cannot write or read" in err
    assert err.count("\n") == 1
    assert list(read_only.iterdir()) == []


def test_a_full_standard_output_is_one_sentence():
    command = [sys.executable, "-m", "cign", "--help"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["prepare", "train", "bench", "synth"])
def test_the_second_on_a_folder_is_refused(command, cign, tiny, tmp_path):
    place = tmp_path / "place"
    arguments = {
        "prepare": [tiny[0], place, "--backbone", "small-random", "--workers", 0],
        "train": [tiny[1], "--out", place, "--method", "finetune", "--tasks", 2],
        "bench": [tiny[1], "--out", place, "--methods", "finetune", "--tasks", 2],
        "synth": [place, "--classes", 2, "--train", 1, "--test", 1],
    }
    with folder_lock(place, "folder"):
        code, out, err = cign(command, *arguments[command])
    assert (code, out) == (2, "")
    assert "is in use by another process: wait for it or use another folder" in err
    assert [path.name for path in place.iterdir()] == [".lock"]


def test_a_run_that_another_process_finished_meanwhile_is_not_overwritten(tiny, tmp_path):
    from cign.errors import InputError
    from cign.learner import Learner

    quick = {"training": {"num_epochs": 1, "min_steps": 0, "batch_size": 8}}
    learner = Learner("finetune", options=quick)
    configure = learner._configure

    def slowly(*arguments):
        configure(*arguments)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.yaml").write_text("of another process")

    learner._configure = slowly
    with pytest.raises(InputError, match="already contains a run"):
        learner.learn(tiny[1], tasks=2, out=tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").read_text() == "of another process"


def test_what_a_killed_write_left_is_cleared_away(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    old = tmp_path / "model" / f".model.safetensors.{ended.pid}.0a1b2c3d.tmp"
    own = tmp_path / f".store.json.{os.getppid()}.0a1b2c3d.tmp"
    mine = tmp_path / ".notes.tmp"
    unfinished = tmp_path / "model" / ".tmpE8rEyI"  # of safetensors
    for path in (old, own, mine, unfinished):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with held_folder(tmp_path, "folder"):
        assert not old.exists()
        assert not unfinished.exists()
        assert own.exists(), "its process is alive"
        assert mine.exists(), "not one of ours"


def test_resumed_after_a_kill_between_its_first_two_files(tiny, tmp_path):
    from cign.learner import Learner

    options = {"training": {"num_epochs": 1, "min_steps": 0, "batch_size": 8}}
    whole = Learner("finetune", options=options).learn(tiny[1], tasks=2, out=tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    shutil.copy(tmp_path / "whole" / "config.yaml", tmp_path / "killed")
    again = Learner("finetune", options=options)
    again.learn(tiny[1], tasks=2, out=tmp_path / "killed", resume=True)
    assert again.metrics["modalities"] == whole.metrics["modalities"]
    assert (tmp_path / "killed" / "metrics.json").exists()


GREEDY = """
import sys
import numpy as np
import cign.data.prepare.worker as worker
def decode(path, *args, **kwargs):
    return np.ones(worker.MAX_DATA_BYTES // 8 + 2**20)
worker.decode = decode
worker.main()
"""


def test_a_file_that_asks_for_too_much_memory_costs_itself_alone(tiny, monkeypatch):
    monkeypatch.setattr("cign.data.prepare.workers.PROGRAM", (sys.executable, "-c", GREEDY))
    clip = next((tiny[0] / "train").rglob("*.mp4"))
    task = {"row": 0, "path": str(clip), "start_s": None, "end_s": None}
    (answer,) = decode_all([task], SPEC, None, num_workers=1)
    condition, detail = answer["conditions"][0]
    assert condition == "unreadable"
    assert "MemoryError" in detail
    assert MAX_DATA_BYTES == 4 * 2**30


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_clip_is_not_blamed_for_a_lack_of_memory(num_workers, tiny, monkeypatch):
    program = f"{GREEDY.replace('worker.main()', '')}worker.has_memory = lambda: False"
    monkeypatch.setattr(
        "cign.data.prepare.workers.PROGRAM", (sys.executable, "-c", f"{program}\nworker.main()")
    )
    monkeypatch.setattr("cign.data.prepare.worker.has_memory", lambda: False)

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("cign.data.prepare.worker.decode", fail)
    clip = next((tiny[0] / "train").rglob("*.mp4"))
    task = {"row": 0, "path": str(clip), "start_s": None, "end_s": None}
    with pytest.raises(MemoryError):
        list(decode_all([task], SPEC, None, num_workers=num_workers))


def test_a_row_that_cannot_be_written_is_the_disks_fault_and_not_the_files(tiny, tmp_path):
    from cign.data.arrays import create_array
    from cign.data.prepare.worker import Decoder

    create_array(tmp_path / "frames.npy", (1, 1, 32, 32, 3), "uint8")
    create_array(tmp_path / "audio.npy", (1, 8000), "int16")
    decoder = Decoder(SPEC, tmp_path)

    def fail(*_):
        raise OSError(5, "Input/output error")

    decoder._audio.write = fail
    clip = next((tiny[0] / "train").rglob("*.mp4"))
    answer = decoder({"row": 0, "path": str(clip), "start_s": None, "end_s": None})
    assert answer == {"row": 0, "full": "Input/output error"}
