"""`cign app` without a browser: what the service behind the page does, and what is refused."""

import importlib.util
import shutil
import threading

import pytest

from cign.app.service import Service
from cign.learner import Learner
from cign.serving.clip_tables import lay_out
from cign.utils.files import folder_lock
from refusals import input_error

from .adding import refused, state_of


def taught_table(tiny, name, folder, split="train"):
    clips = sorted((tiny[0] / split / name).rglob("*.mp4")) or sorted(
        path for path in (tiny[0] / split).rglob("*.mp4") if name in str(path)
    )
    assert clips
    return lay_out(name, [clip.resolve() for clip in clips], folder)


@pytest.fixture
def new(rows):
    return rows[1][-1]


def test_it_answers_learns_and_goes_back(model, tiny, new, tmp_path):
    service = Service(model, teach=True)
    clip = next(iter(sorted((tiny[0] / "test" / new).glob("*.mp4"))))
    before = service.answer(clip)
    (alone,) = Learner.load(model).predict([clip], top=5)
    assert before.prediction == alone
    assert new not in service.model.classes
    told = service.teach(taught_table(tiny, new, tmp_path / "work"))
    assert told.addition.new == {new: 5}  # six clips, one set aside
    assert told.addition.num_new_kept == 1
    assert told.addition.cost is not None
    assert told.version == 2
    after = service.answer(clip)
    (alone,) = Learner.load(model).predict([clip], top=5)
    assert after.prediction == alone
    assert after.prediction.modalities != before.prediction.modalities
    assert new in service.model.classes
    with input_error("model-changed", "2", "1"):
        service.undo(1)
    assert service.undo(2) == 1
    assert service.answer(clip).prediction == before.prediction


def test_two_teach_at_once_one_after_the_other(model, tiny, new, tmp_path):
    service = Service(model, teach=True)
    tables = [taught_table(tiny, new, tmp_path / str(i)) for i in range(2)]
    versions, threads = [], []
    for table in tables:
        run = lambda table=table: versions.append(service.teach(table).version)  # noqa: E731
        threads.append(threading.Thread(target=run))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == [2, 3]
    with folder_lock(model, "model"), input_error("busy"):
        service.teach(tables[0])


def test_it_sees_what_another_process_taught(cign, model, tables, tiny, new):
    service = Service(model)
    assert new not in service.model.classes
    assert cign("add", model, tables[1], "--media", tiny[0], "--workers", 0)[0] == 0
    assert new in service.model.classes


def test_teaching_is_locked_unless_it_is_allowed(model, tiny, new, tmp_path):
    service = Service(model)
    before = state_of(model)
    for change in (lambda: service.teach(tmp_path / "x.csv"), lambda: service.undo(1)):
        with input_error("unsupported", "--teach"):
            change()
    assert state_of(model) == before


def test_a_run_is_never_changed(runs, tiny, new, tmp_path):
    run = shutil.copytree(runs / "cign_analytic", tmp_path / "run")
    before = state_of(run)
    with input_error("bad-output", "--out"):
        Service(run, teach=True)
    service = Service(run, teach=True, out=tmp_path / "copy")
    service.teach(taught_table(tiny, new, tmp_path / "work"))
    assert state_of(run) == before
    assert new in Learner.load(tmp_path / "copy").model.classes


def test_a_file_that_is_no_clip_is_one_sentence(model, tmp_path):
    (tmp_path / "fake.mp4").write_text("text")
    with input_error("bad-clip", "fake.mp4"):
        Service(model).answer(tmp_path / "fake.mp4")


def test_what_is_refused_is_one_sentence(cign, model, runs, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    found = lambda name, *rest: None if name == "gradio" else real(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", found)
    refused(cign("app", model), "the web app needs gradio", "pip install 'gradio>=6,<7'")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: real("json"))
    refused(cign("app", tmp_path / "nothing", "--port", 0), "not found")
    refused(cign("app", model, "--port", 0, "--out", tmp_path / "x"), "--teach")
    refused(
        cign("app", runs / "finetune", "--teach", "--port", 0, "--out", tmp_path / "x"),
        "finetune",
        "without its old clips",
    )
    refused(cign("app", model, "--max-upload", "much"), "--max-upload", "'much'", "200MB")
    refused(cign("app", model, "--port", "70000"), "--port", "65535")
    refused(cign("app", model, "--host", "256.1.1.1"), "cannot listen", "--host")
