"""Requests that change the model, and versions that appear while it is served."""

import errno
import shutil
import threading

import pytest

from cign.learner import Learner
from cign.saved_model.files import version_folder
from cign.saved_model.versions import list_versions
from cign.serving import model_service, server_state
from cign.utils.files import folder_lock

from .client import TOKEN, running, until


@pytest.fixture
def teaching(model):
    with running(model, teach=True, token=TOKEN, timeout_s=30.0) as client:
        yield client


def test_add_correct_and_undo(teaching, model, tiny, clips):
    known = teaching.get("/classes").json["classes"]
    of_class = {path.name: sorted(path.glob("*.mp4")) for path in (tiny[0] / "train").iterdir()}
    first, *_ = of_class
    before = teaching.predict(clips[0]).json
    added = teaching.send("/classes/new%20bell/clips?version=1", of_class[first], field="files")
    assert added.status == 200, added.body
    assert added.json["new"] == {"new bell": 5}  # six clips, one for validation
    assert added.json["model_version"] == 2
    assert str(model) not in added.body.decode()
    names = [one["name"] for one in teaching.get("/classes").json["classes"]]
    assert names == [*(one["name"] for one in known), "new bell"]
    (answer,) = teaching.predict(clips[0]).json
    assert answer["model_version"] == 2
    (right,) = Learner.load(model).predict(clips[0])
    assert answer["modalities"] == right.to_dict()["modalities"]

    wrong = [("label", "new bell")]
    corrected = teaching.send("/corrections", [of_class[first][0]], fields=wrong)
    assert corrected.json["num_replaced"] == 2  # it was learned twice, under two names
    assert corrected.json["model_version"] == 3
    assert len(list_versions(model)) == 3

    late = teaching.call("POST", "/undo?version=2")
    late.refused(409, "model-changed", "version 3, not 2")
    assert teaching.call("POST", "/undo?version=3").json == {"model_version": 2}
    assert teaching.call("POST", "/undo?version=2").json == {"model_version": 1}
    assert teaching.predict(clips[0]).json == before
    teaching.call("POST", "/undo?version=1").refused(422, "unknown-name")


def test_what_cannot_be_learned(teaching, clips):
    teaching.send("/classes/a/clips", [("x.mp4", b"no media")], field="files").refused(
        422, "no-clips"
    )
    teaching.send("/classes/a/clips", clips[:1]).refused(400, "bad-request", "'files'")
    teaching.send("/corrections", clips[:1]).refused(400, "bad-request", "'label'")
    teaching.call("POST", "/undo").refused(422, "bad-value", "version")
    stale = teaching.send("/classes/a/clips?version=7", clips[:1], field="files")
    stale.refused(409, "model-changed")
    assert teaching.get("/classes").json["model_version"] == 1


def test_a_model_in_use_is_waited_for(teaching, model, clips):
    """Another process that changes the model delays a change, and does not refuse it."""
    answers = []
    with folder_lock(model, "model"):

        def send():
            found = teaching.send("/classes/waits/clips", clips[:2], field="files")
            answers.append(found)

        thread = threading.Thread(target=send)
        thread.start()
        assert teaching.predict(clips[0]).status == 200  # predictions continue
        thread.join(0.5)
        assert answers == []
    thread.join()
    assert answers[0].status == 200, answers[0].body


def test_teaching_is_locked_unless_it_is_allowed(server, clips):
    for path, field in (("/classes/a/clips", "files"), ("/corrections", "file")):
        server.send(path, clips[:1], field=field).refused(403, "unsupported", "--teach")
    server.call("POST", "/undo?version=1").refused(403, "unsupported", "--teach")


def test_new_versions_and_broken_ones(model, clips):
    """A new version answers soon; a broken one never, and /health says so."""
    with running(model) as client:
        old = client.predict(clips[0]).json[0]
        learner = Learner.load(model)
        learner.rename(learner.classes[0], "renamed")
        learner.save(model)
        until(lambda: client.get("/classes").json["model_version"] == 2)
        assert client.get("/classes").json["classes"][0]["name"] == "renamed"
        new = client.predict(clips[0]).json[0]
        assert new["model_version"] == 2
        assert new["model_checksum"] != old["model_checksum"]

        copied = shutil.copytree(version_folder(model, 2), version_folder(model, 3))
        about = (copied / "model.json").read_text()
        (copied / "model.json").write_text(about.replace('"renamed"', '"broken"'))
        (copied / "model.safetensors").write_bytes(b"damaged")
        (model / "CURRENT").write_text("3\n")
        until(lambda: client.get("/health").json["reload_error"])
        assert client.predict(clips[0]).json[0] == new
        health = client.get("/health")
        assert health.status == 200
        assert "model.safetensors" in health.json["reload_error"]
        assert "cign_reload_failed 1.0" in client.get("/metrics").body.decode()

        (model / "CURRENT").write_text("2\n")
        until(lambda: client.get("/health").json["reload_error"] is None)
        shutil.rmtree(model)
        until(lambda: client.get("/health").json["reload_error"])
        assert client.predict(clips[0]).json[0] == new


def test_a_folder_that_cannot_be_read_for_a_while(model, monkeypatch, capsys):
    """Neither it nor a bug ends the thread that watches the folder."""

    def fail(error):
        def failing(place):
            raise error

        return failing

    with running(model) as client:
        with monkeypatch.context() as patch:
            denied = PermissionError(errno.EACCES, "Permission denied")
            patch.setattr(model_service, "state_of", fail(denied))
            (model / "model.json").touch()
            until(lambda: client.get("/health").json["reload_error"])
            error = client.get("/health").json["reload_error"]
            assert error == f"model {model} cannot be read (Permission denied): check the folder"
        until(lambda: client.get("/health").json["reload_error"] is None)
        with monkeypatch.context() as patch:
            patch.setattr(server_state, "_stamps", fail(KeyError("the bug")))
            until(lambda: "KeyError: 'the bug'" in capsys.readouterr().err)
        learner = Learner.load(model)
        learner.rename(learner.classes[0], "renamed")
        learner.save(model)
        until(lambda: client.get("/classes").json["model_version"] == 2)


def test_further_routes_share_the_token_and_the_form_of_errors(trained):
    from fastapi import APIRouter

    def make(state):
        router = APIRouter()

        @router.post("/integration")
        async def ask():
            return {"classes": state.service.snapshot.model.classes}

        return router

    with running(trained, token=TOKEN, routers=(make,)) as client:
        assert client.call("POST", "/integration").json["classes"]
        client.call("POST", "/integration", token=False).refused(401, "unauthorized")
        assert "/integration" in client.get("/openapi.json").json["paths"]
