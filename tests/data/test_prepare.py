"""Preparing: reports, resuming, refusing, and files at which a decoder dies."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cign.data import prepare as module
from cign.data.media import MediaSpec, decode
from cign.data.prepare import prepare
from cign.data.store import Store
from cign.errors import InputError, RunError
from cign.files import folder_lock

from .conftest import ffmpeg

SPEC = MediaSpec(frame_px=32, rate_hz=8000, window_s=1.0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, media):
    """Two classes, twelve clips, and one file of every bad kind."""
    folder = tmp_path_factory.mktemp("corpus")
    good = ["plain.mp4", "vp9.webm", "mpeg4.avi", "hevc.mkv", "quiet.mp4", "keys.avi"]
    for number, name in enumerate(good):
        for label in ("ape", "bee's 猫"):
            path = folder / ("test" if number == 5 else "train") / label / f"{number} {name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if label == "ape":
                shutil.copy(media(name), path)
            else:
                shift = ("-itsoffset", "0", "-i", str(media(name)), "-vf", "negate")
                ffmpeg(*shift, "-c:a", "copy", *("-c:v", "mpeg4"), str(path.with_suffix(".mkv")))
    bad = ["text.mp4", "zero.mp4", "short.mp4", "cut.mp4", "silent.mp4", "still.mp4", "sound.mp3"]
    for name in bad:
        shutil.copy(media(name), folder / "train" / "ape" / f"bad {name}")
    shutil.copy(media("plain.mp4"), folder / "test" / "ape" / "again.mp4")
    shutil.copy(media("plain.mp4"), folder / "train" / "ape" / "twice.mp4")
    return folder


@pytest.fixture(scope="session")
def prepared(corpus, tmp_path_factory):
    """Its store, made in this process, and the report."""
    folder = tmp_path_factory.mktemp("prepared") / "store"
    return folder, prepare(corpus, folder, spec=SPEC, num_workers=0)


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != ".lock"}


def test_a_corpus_with_bad_files_is_prepared_with_its_report(prepared):
    folder, report = prepared
    assert report.num_listed == 21
    assert report.num_usable == 18
    assert report.conditions["unreadable"] == 2
    assert report.conditions["damaged"] == 1
    assert report.conditions["silent"] == 1
    assert report.conditions["still"] == 1
    assert report.conditions["one modality"] == 1
    assert report.conditions["10-bit"] >= 1
    assert (report.num_duplicates, report.num_duplicates_across) == (2, 2)
    left_out = {p.clip: p.condition for p in report.problems if not p.kept}
    assert left_out == {
        "train/ape/bad text.mp4": "unreadable",
        "train/ape/bad zero.mp4": "unreadable",
        "train/ape/bad short.mp4": "short",
    }
    assert report.counts["test"] == {"ape": 2, "bee's 猫": 1}
    again = prepare(Path(Store.open(folder).info["source"]), folder, spec=SPEC)
    assert again == report


def test_a_store_holds_what_decoding_gives(prepared):
    store = Store.open(prepared[0])
    for index, clip in enumerate(store.table.clips):
        decoded = decode(clip.path, SPEC)
        assert np.array_equal(store.frames([index])[0], decoded.frames)
        assert np.array_equal(store.audio([index])[0], decoded.audio)
        assert store.audio_ok[index] == decoded.has_audio
        assert store.visual_ok[index] == decoded.has_visual
    assert store.visual_ok.sum() == store.num_clips - 1


def test_the_number_of_processes_does_not_matter(corpus, prepared, tmp_path):
    report = prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=3)
    assert content(tmp_path / "store") == content(prepared[0])
    assert report.problems == prepared[1].problems


PREPARE = """
import sys
from pathlib import Path
from cign.data.media import MediaSpec
from cign.data.prepare import prepare
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


def test_a_store_is_not_taken_for_one_of_other_files_under_the_same_names(
    corpus, prepared, media, tmp_path
):
    source, store = tmp_path / "source", tmp_path / "store"
    shutil.copytree(corpus, source)
    shutil.copytree(prepared[0], store)
    report = prepare(source, store, spec=SPEC, num_workers=0)  # copies, with other times
    assert report.conditions == prepared[1].conditions
    gone = source / "train" / "ape" / "twice.mp4"
    gone.unlink()
    bad = source / "train" / "ape" / "bad text.mp4"
    kept = bad.read_bytes()
    shutil.copy(media("plain.mp4"), bad)
    shutil.copy(media("plain.mp4"), gone)
    with pytest.raises(
        InputError, match=r"1 of 21 files .* train/ape/bad text.mp4, whose size was"
    ):
        prepare(source, store, spec=SPEC, num_workers=0)
    bad.write_bytes(kept)
    prepare(source, store, spec=SPEC, num_workers=0)
    (store / "sizes.npy").unlink()  # as an earlier version has it
    shutil.copy(media("plain.mp4"), bad)
    prepare(source, store, spec=SPEC, num_workers=0)


def test_other_work_is_never_overwritten(corpus, prepared, tmp_path):
    folder = prepared[0]
    before = content(folder)
    with pytest.raises(InputError, match=r"another list or with other settings.*another folder"):
        prepare(corpus, folder, spec=MediaSpec(frame_px=48, rate_hz=8000))
    with pytest.raises(InputError, match="another list"):
        prepare(corpus / "train", folder, spec=SPEC)
    assert content(folder) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"thesis.tex.*new folder"):
        prepare(corpus, tmp_path / "mine", spec=SPEC)
    with pytest.raises(InputError, match="is a file"):
        prepare(corpus, tmp_path / "mine" / "thesis.tex", spec=SPEC)


def test_an_unfinished_store_of_other_work_is_refused(corpus, tmp_path, monkeypatch):
    undo = interrupt(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)
    undo()
    with pytest.raises(InputError, match="being made from another list"):
        prepare(corpus, tmp_path / "store", spec=MediaSpec(frame_px=48), num_workers=0)


def test_a_second_process_is_refused(corpus, tmp_path):
    with folder_lock(tmp_path / "store", "store"), pytest.raises(InputError, match="in use"):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)


def make_pair(folder: Path, media, train: str, test: str = "plain.mp4") -> Path:
    for place, name in (("train/a/1", train), ("test/a/2", test), ("train/b/3", "vp9.webm")):
        path = folder / (place + Path(name).suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media(name), path)
    return folder


def test_no_usable_clip(media, tmp_path):
    source = tmp_path / "source"
    for name in ("a", "b"):
        (source / "train" / name).mkdir(parents=True)
        shutil.copy(media("text.mp4"), source / "train" / name / "x.mp4")
    with pytest.raises(InputError, match="no usable clip: of 2 listed, 2 are unreadable"):
        prepare(source, tmp_path / "store", spec=SPEC, num_workers=0)


def test_a_class_that_is_lost_is_named_and_can_be_mended(media, tmp_path):
    source = make_pair(tmp_path / "source", media, "text.mp4")
    with pytest.raises(InputError, match="no training clip of class 'a' is usable"):
        prepare(source, tmp_path / "store", spec=SPEC, num_workers=0)
    shutil.copy(media("quiet.mp4"), source / "train" / "a" / "1.mp4")
    assert prepare(source, tmp_path / "store", spec=SPEC, num_workers=0).num_usable == 3


def test_listed_files_that_are_missing_are_reported(media, tmp_path):
    shutil.copy(media("plain.mp4"), tmp_path / "a.mp4")
    shutil.copy(media("quiet.mp4"), tmp_path / "b.mp4")
    lines = ["path,labels,split", "a.mp4,a,train", "b.mp4,b,train", "c.mp4,b,test"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    report = prepare(tmp_path / "list.csv", tmp_path / "store", spec=SPEC, num_workers=0)
    assert report.conditions["missing"] == 1
    assert report.num_usable == 2


def test_sources_shared_by_splits_are_counted(media, tmp_path):
    shutil.copy(media("long.mp4"), tmp_path / "a.mp4")
    lines = ["path,labels,split,start_s,end_s"]
    lines += ["a.mp4,a,train,0,2", "a.mp4,b,train,2,4", "a.mp4,a,test,4,6", "a.mp4,b,test,6,8"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    report = prepare(tmp_path / "list.csv", tmp_path / "store", spec=SPEC, num_workers=0)
    expected = {"split": "test", "other": "train", "num_sources": 1, "num_clips": 2}
    assert report.shared_sources == [expected]
    assert report.num_duplicates == 0


CRASH = """
import os, signal, sys, time
import cign.data.worker as worker
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
    popen = subprocess.Popen
    monkeypatch.setattr(
        "cign.data.workers.subprocess.Popen",
        lambda command, **kwargs: popen([sys.executable, "-c", CRASH], **kwargs),
    )
    report = prepare(source, tmp_path / "store", spec=SPEC, num_workers=2, timeout_s=3.0)
    assert report.num_usable == 3
    details = {p.clip: p.detail for p in report.problems if p.condition == "unreadable"}
    assert "SIGSEGV" in details["train/a/crash.mp4"]
    assert "more than 3 s" in details["train/a/hang.mp4"]


def test_decoders_that_cannot_start_are_an_error(corpus, tmp_path, monkeypatch):
    popen = subprocess.Popen
    monkeypatch.setattr(
        "cign.data.workers.subprocess.Popen",
        lambda command, **kwargs: popen([sys.executable, "-c", "import nothing"], **kwargs),
    )
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
        assert "free space" in done.stdout
        assert done.stdout.count("\n") == 1
        prepare(corpus, store, spec=SPEC, num_workers=0)
    assert content(store) == content(prepared[0])


def test_too_little_space_is_refused_before_decoding(corpus, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(RunError, match=r"0\.0 GB free"):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)


def test_the_journal_is_gone_and_the_record_is_there(prepared, corpus):
    names = set(content(prepared[0]))
    assert names == {
        *("audio.npy", "clips.parquet", "frames.npy", "problems.parquet", "report.json"),
        *("sizes.npy", "store.json"),
    }
    info = json.loads((prepared[0] / "store.json").read_text())
    assert info["spec"] == SPEC.to_dict()
    assert info["thresholds"] == {"short_s": 0.5, "silent_dbfs": -60.0, "still_block_levels": 1.0}
    assert info["synth"] is None
    assert Store.open(prepared[0]).list_hash == info["list_hash"]


def test_a_damaged_report_is_one_sentence(corpus, prepared, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(prepared[0], store)
    (store / "report.json").write_text('{"colour": "red"}')
    with pytest.raises(InputError, match="report of store"):
        prepare(corpus, store, spec=SPEC)
