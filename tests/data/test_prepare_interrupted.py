"""Preparing that is killed, stopped or short of space, and decoders that die."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cign.data.media.decode import MediaSpec
from cign.data.prepare import pipeline as module
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.errors import InputError, RunError
from refusals import run_error

from .conftest import SPEC, content, make_pair

PREPARE = """
import sys
from pathlib import Path
from cign.data.media.decode import MediaSpec
from cign.data.prepare.pipeline import prepare
spec = MediaSpec(frame_px=32, rate_hz=8000, window_s=1.0)
prepare(Path(sys.argv[1]), Path(sys.argv[2]), spec=spec, num_workers=int(sys.argv[3]))
"""


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(("num_workers", "num_done"), [(0, 9), (2, 14)])
def test_killed_and_resumed_gives_the_same_bytes(corpus, prepared, tmp_path, num_workers, num_done):
    store = tmp_path / "store"
    command = [sys.executable, "-c", PREPARE, str(corpus), str(store), str(num_workers)]
    process = subprocess.Popen(command)
    journal = store / "journal.jsonl"
    while num_lines(journal) <= num_done and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (store / "store.json").exists()
    done = num_lines(journal) - 1
    assert done >= num_done
    with pytest.raises(InputError, match="not finished"):
        Store.open(store)
    # The line that was being written when power failed.
    with journal.open("ab") as file:
        file.write(b'{"row": 20, "condit')
    prepare(corpus, store, spec=SPEC, num_workers=num_workers)
    assert content(store) == content(prepared[0])


def test_decoding_processes_end_with_the_one_that_started_them(corpus, tmp_path):
    store = tmp_path / "store"
    command = [sys.executable, "-c", PREPARE, str(corpus), str(store), "2"]
    process = subprocess.Popen(command)
    while num_lines(store / "journal.jsonl") <= 1 and process.poll() is None:
        time.sleep(0.001)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    assert len(children) == 2
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        # A zombie waits for whoever inherits it and does nothing any more.
        states = [Path(f"/proc/{child}/stat") for child in children]
        if all(not s.exists() or s.read_text().split()[2] == "Z" for s in states):
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupt(monkeypatch, after: int):
    """Let preparing stop after some clips, as an interruption would."""
    original = module.decode_all

    def some(*args, **kwargs):
        for number, answer in enumerate(original(*args, **kwargs)):
            if number == after:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(module, "decode_all", some)
    return lambda: monkeypatch.setattr(module, "decode_all", original)


def test_only_what_is_missing_is_decoded_again(corpus, prepared, tmp_path, monkeypatch):
    undo = interrupt(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)
    undo()
    seen = []
    original = module.decode_all
    monkeypatch.setattr(
        module,
        "decode_all",
        lambda tasks, *a, **k: (seen.extend(tasks), original(tasks, *a, **k))[1],
    )
    prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)
    assert len(seen) == 21 - 7
    assert content(tmp_path / "store") == content(prepared[0])


def test_rows_lost_in_a_power_failure_are_decoded_again(corpus, prepared, tmp_path, monkeypatch):
    store = tmp_path / "store"
    undo = interrupt(monkeypatch, 12)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, store, spec=SPEC, num_workers=0)
    undo()
    with (store / "audio.npy").open("r+b") as file:
        file.seek(128 + 2 * 8000 * 2)
        file.write(bytes(8000))
    prepare(corpus, store, spec=SPEC, num_workers=0)
    assert content(store) == content(prepared[0])


def test_a_file_that_was_replaced_is_decoded_again(corpus, media, tmp_path, monkeypatch):
    source, store = tmp_path / "source", tmp_path / "store"
    shutil.copytree(corpus, source)
    undo = interrupt(monkeypatch, 19)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, store, spec=SPEC, num_workers=0)
    undo()
    shutil.copy(media("fast.mp4"), source / "train" / "ape" / "bad text.mp4")
    report = prepare(source, store, spec=SPEC, num_workers=0)
    assert report.conditions["unreadable"] == 1


def test_an_unfinished_store_of_other_work_is_refused(corpus, tmp_path, monkeypatch):
    undo = interrupt(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)
    undo()
    with pytest.raises(InputError, match="was started from another list"):
        prepare(corpus, tmp_path / "store", spec=MediaSpec(frame_px=48), num_workers=0)


CRASH = """
import os, signal, sys, time
import cign.data.prepare.worker as worker
real = worker.decode
def decode(path, *args, **kwargs):
    if "crash" in str(path):
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in str(path):
        time.sleep(60)
    return real(path, *args, **kwargs)
worker.decode = decode
worker.main()
"""


def test_a_decoder_that_dies_or_hangs_costs_its_file_alone(media, tmp_path, monkeypatch):
    source = make_pair(tmp_path / "source", media, "plain.mp4")
    for name in ("crash", "hang"):
        shutil.copy(media("quiet.mp4"), source / "train" / "a" / f"{name}.mp4")
    monkeypatch.setattr("cign.data.prepare.workers.PROGRAM", (sys.executable, "-c", CRASH))
    report = prepare(source, tmp_path / "store", spec=SPEC, num_workers=2, timeout_s=3.0)
    assert report.num_usable == 3
    details = {p.clip: p.detail for p in report.problems if p.condition == "unreadable"}
    assert "SIGSEGV" in details["train/a/crash.mp4"]
    assert "more than 3 s" in details["train/a/hang.mp4"]


def test_decoders_that_cannot_start_are_an_error(corpus, tmp_path, monkeypatch):
    command = (sys.executable, "-c", "import nothing")
    monkeypatch.setattr("cign.data.prepare.workers.PROGRAM", command)
    with pytest.raises(RunError, match="cannot start"):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=2)


FULL_DISK = """
import resource, sys
limit = int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
"""


@pytest.mark.parametrize("limit", [100_000, 340_000])
def test_a_full_disk_is_one_sentence_and_can_be_resumed(corpus, prepared, tmp_path, limit):
    # A limit on the size of files gives the same kind of error, at a place of our choosing.
    store = tmp_path / "store"
    run = "import traceback\nfrom cign.errors import RunError\ntry:\n" + "".join(
        f"    {line}\n" for line in (FULL_DISK + PREPARE).strip().splitlines()
    )
    run += "except RunError as error:\n    print(error)\n    sys.exit(1)\n"
    command = [sys.executable, "-c", "import sys\n" + run, str(corpus), str(store), "0", str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if limit > 336_128:
        assert done.returncode == 0
    else:
        assert done.returncode == 1, done.stderr
        assert "free some space" in done.stdout
        assert done.stdout.count("\n") == 1
        prepare(corpus, store, spec=SPEC, num_workers=0)
    assert content(store) == content(prepared[0])


def test_too_little_space_is_refused_before_decoding(corpus, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with run_error("disk-full", "0.0"):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)
