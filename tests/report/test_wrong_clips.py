"""Wrongly classified clips: their frame is the store's, their path that of the clip."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from cign.cli.entry_point import main
from cign.data.store import Store
from cign.metrics.predictions import Predictions
from cign.report import write_report
from cign.vocabulary import MODALITIES

from .runs_on_paper import draw_predictions, write_run
from .test_page import Page, report


def of_store(store):
    """Predictions about the test clips of a store: all but the first two are right."""
    rows = store.indices("test")
    clips = [store.table.clips[i] for i in rows]
    names = store.class_names
    scores = np.full((len(clips), len(names)), 0.01, np.float32)
    for row, clip in enumerate(clips):
        true = names.index(clip.labels[0])
        scores[row, (true + 1) % len(names) if row < 2 else true] = (0.7, 0.9)[row % 2]
    return rows, Predictions(
        clip_ids=[clip.id for clip in clips],
        labels=[clip.labels for clip in clips],
        class_names=names,
        task_sizes=(len(names),),
        scores=[dict.fromkeys(MODALITIES, scores)],
    )


@pytest.fixture
def store(tiny):
    return Store.open(tiny[1])


def run_on(store, folder, **about):
    rows, predictions = of_store(store)
    where = {"path": str(store.folder), "list_hash": store.list_hash, "num_train": 24}
    write_run(folder, predictions=predictions, list_hash=store.list_hash, store=where | about)
    return rows, predictions


def images(text):
    """What the page embeds: text for readers without images -> the image."""
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)"', text)
    return {words: Image.open(io.BytesIO(base64.b64decode(data))) for data, words in found}


def test_a_wrong_clip_has_the_frame_of_the_store(store, tmp_path):
    rows, predictions = run_on(store, tmp_path / "run")
    text = report([tmp_path / "run"], tmp_path)
    shown = images(text)
    first, second = predictions.clip_ids[:2]
    assert list(shown) == [f"frame of {second}", f"frame of {first}"]  # 0.9 before 0.7
    frames = store.frames(rows[:2]).astype(int)
    for clip, frame, other in ((first, 0, 1), (second, 1, 0)):
        picture = np.asarray(shown[f"frame of {clip}"].convert("RGB"), int)
        near, far = (
            np.abs(picture - frames[i, len(frames[i]) // 2]).mean() for i in (frame, other)
        )
        assert near < 8
        assert far > 2 * near
    words = " ".join(Page(text).texts)
    assert "All 2, the highest probability of the wrong class first." in words
    assert store.info["source"] not in text
    for path in (first, second):
        assert path in re.sub("<wbr>", "", text)


def test_same_run_and_store_same_bytes(store, tmp_path):
    run_on(store, tmp_path / "run")
    pages = {report([tmp_path / "run"], tmp_path) for _ in range(2)}
    assert len(pages) == 1


@pytest.mark.parametrize("lack", ["gone", "changed", "left out"])
def test_without_its_store_paths_are_shown_alone(store, tmp_path, lack):
    changes = {
        "gone": {"path": str(tmp_path / "nowhere")},
        "changed": {"list_hash": "0" * 64},
        "left out": {},
    }[lack]
    _, predictions = run_on(store, tmp_path / "run", **changes)
    out = tmp_path / "r.html"
    write_report([tmp_path / "run"], out, with_frames=lack != "left out")
    text = out.read_text()
    assert images(text) == {}
    assert "No frames: the store was not available." in text
    assert predictions.clip_ids[0] in re.sub("<wbr>", "", text)


def test_a_clip_without_video_says_so(store, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(store.folder, copy)
    import dataclasses

    from cign.report import clips
    from cign.report.runs import load_runs

    rows, predictions = run_on(store, tmp_path / "run")
    blind = dataclasses.replace(store, visual_ok=np.arange(store.num_clips) != rows[0])
    stores = clips.Stores()
    stores._opened[store.folder.absolute()] = blind
    found = clips.wrong_clips_of(load_runs([tmp_path / "run"])[0], 1, stores)
    assert [one["frame"] is None for one in found["clips"]] == [False, True]
    assert found["clips"][1]["path"] == predictions.clip_ids[0]


def test_a_store_where_the_run_was_made_is_found_from_anywhere(store, tmp_path, monkeypatch):
    shutil.copytree(store.folder, tmp_path / "stores" / "own")
    run_on(store, tmp_path / "runs" / "first" / "run", path="stores/own")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(images(report([tmp_path / "runs" / "first" / "run"], tmp_path))) == 2


def test_the_test_stores_clips_are_shown_where_a_run_was_scored_on_another(store, tmp_path):
    about = {"path": "gone", "list_hash": "1" * 64, "test_list_hash": store.list_hash}
    run_on(store, tmp_path / "run", test_path=str(store.folder), **about)
    assert len(images(report([tmp_path / "run"], tmp_path))) == 2


def test_a_page_shows_few_clips_of_each_run_and_none_of_many(tmp_path):
    predictions = draw_predictions((3,), skill=0.2)
    for i in range(25):
        write_run(tmp_path / f"run{i:02d}", predictions=predictions)
    folders = sorted(tmp_path.glob("run*"))
    for number, most in ((1, 24), (2, 12), (6, 12), (7, 6), (25, 0)):
        text = report(folders[:number], tmp_path)
        assert text.count("<dt>predicted</dt>") == number * most


def test_the_command_leaves_frames_out(store, tmp_path, capsys):
    run_on(store, tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    assert main(["report", str(tmp_path / "run")]) == 0
    assert len(images(page.read_text())) == 2
    assert main(["report", str(tmp_path / "run"), "--no-frames"]) == 0
    assert images(page.read_text()) == {}
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "bench.json").write_text("{}")
    capsys.readouterr()
    assert main(["report", str(tmp_path / "bench"), "--no-frames"]) == 2
    assert "leave out --no-frames" in capsys.readouterr().err
