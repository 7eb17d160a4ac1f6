"""Preparing: reports, resuming, refusing, and files at which a decoder dies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cign.data.media.decode import MediaSpec, decode
from cign.data.prepare.pipeline import prepare
from cign.data.store import Store
from cign.errors import InputError
from cign.utils.files import folder_lock
from refusals import input_error

from .conftest import SPEC, content, make_pair


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
    with input_error("store-mismatch", "21", "train/ape/bad text.mp4"):
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
    with input_error("bad-output", "mine", "'thesis.tex'"):
        prepare(corpus, tmp_path / "mine", spec=SPEC)
    with input_error("bad-output", "mine/thesis.tex"):
        prepare(corpus, tmp_path / "mine" / "thesis.tex", spec=SPEC)


def test_a_second_process_is_refused(corpus, tmp_path):
    with folder_lock(tmp_path / "store", "store"), input_error("busy"):
        prepare(corpus, tmp_path / "store", spec=SPEC, num_workers=0)


def test_no_usable_clip(media, tmp_path):
    source = tmp_path / "source"
    for name in ("a", "b"):
        (source / "train" / name).mkdir(parents=True)
        shutil.copy(media("text.mp4"), source / "train" / name / "x.mp4")
    with input_error("no-clips", "2", "unreadable"):
        prepare(source, tmp_path / "store", spec=SPEC, num_workers=0)


def test_a_class_that_is_lost_is_named_and_can_be_mended(media, tmp_path):
    source = make_pair(tmp_path / "source", media, "text.mp4")
    with input_error("no-clips", "'a'"):
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


def test_the_journal_is_gone_and_the_record_is_there(prepared, corpus):
    names = set(content(prepared[0]))
    assert names == {
        *("audio.npy", "clips.parquet", "frames.npy", "problems.csv", "problems.parquet"),
        *("report.json", "sizes.npy", "store.json"),
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
    with input_error("damaged", "'num_listed'"):
        prepare(corpus, store, spec=SPEC)
