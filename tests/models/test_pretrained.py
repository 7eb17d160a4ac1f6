"""`from_pretrained` and its companions, on the cache layout of the hub's own library."""

import inspect
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import ModelHubMixin

from cign.learner import Learner
from refusals import input_error

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def learner(tiny):
    return Learner("cign_analytic", options={"width": 30}).learn(tiny[1], tasks=2, progress=False)


@pytest.fixture
def clip(tiny):
    return min(map(str, (tiny[0] / "test").rglob("*.mp4")))


def test_a_folder_goes_there_and_back(learner, clip, tmp_path):
    assert learner.save_pretrained(tmp_path / "model") is None
    again = Learner.from_pretrained(tmp_path / "model")
    assert again.predict(clip).one() == learner.predict(clip).one()
    with input_error("conflicting-options", "a local folder, which has none"):
        Learner.from_pretrained(tmp_path / "model", revision="main")
    with input_error("conflicting-options", "private has no effect without push_to_hub=True"):
        learner.save_pretrained(tmp_path / "model", private=True)


def test_a_cached_model_is_found_by_name_without_a_network(learner, clip, tmp_path, monkeypatch):
    """The library itself finds it: nothing of it is replaced."""
    monkeypatch.chdir(tmp_path)
    repo = tmp_path / "cache" / "models--me--instruments"
    learner.save(repo / "snapshots" / COMMIT)
    for name in ("main", "v1"):
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / name).write_text(COMMIT)
    how = {"cache_dir": tmp_path / "cache", "local_files_only": True}
    for revision in (None, "v1", COMMIT):
        again = Learner.from_pretrained("me/instruments", revision=revision, **how)
        assert again.predict(clip).one() == learner.predict(clip).one()
    with input_error("hub-failed", "me/others"):
        Learner.from_pretrained("me/others", **how)


def test_a_token_of_false_reaches_the_hub(learner, tmp_path, monkeypatch):
    """It means that no token is sent, not even that of a login."""
    seen = {}

    def snapshot_download(name, **how):
        seen.update(how)
        return str(tmp_path / "model")

    learner.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr("cign.saved_model.hub.hub_trouble", str)
    Learner.from_pretrained("me/instruments", token=False)
    assert seen["token"] is False
    assert not seen["local_files_only"]


def test_what_is_pushed_and_how(learner, tmp_path, monkeypatch):
    seen = {}

    def create_repo(name, **how):
        seen["created"] = {"name": name, **how}

    def upload_folder(*, folder_path, **how):
        shutil.copytree(folder_path, tmp_path / "hub")
        seen["uploaded"] = how
        return SimpleNamespace(commit_url="https://hub/me/instruments/commit/2")

    monkeypatch.setattr(huggingface_hub, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload_folder)
    monkeypatch.setattr("cign.saved_model.hub.hub_trouble", str)
    how = {"repo_id": "me/instruments", "token": "secret", "branch": "next", "create_pr": True}
    url = learner.save_pretrained(tmp_path / "model", push_to_hub=True, private=False, **how)
    assert url == "https://hub/me/instruments/commit/2"
    created = {"name": "me/instruments", "private": False, "exist_ok": True, "token": "secret"}
    assert seen["created"] == created
    uploaded = seen["uploaded"]
    assert (uploaded["revision"], uploaded["create_pr"], uploaded["token"]) == (
        *("next", True, "secret"),
    )
    assert uploaded["commit_message"] == "Push model using cign"
    assert Learner.load(tmp_path / "hub").classes == learner.classes


@pytest.mark.parametrize("name", ["from_pretrained", "save_pretrained", "push_to_hub"])
def test_arguments_are_those_of_the_mixin(name):
    """Those that configure a torch module or its card have no counterpart."""
    others = {"self", "config", "model_kwargs", "model_card_kwargs", "push_to_hub_kwargs"}
    others |= {"allow_patterns", "ignore_patterns", "delete_patterns"}
    theirs = set(inspect.signature(getattr(ModelHubMixin, name)).parameters)
    ours = set(inspect.signature(getattr(Learner, name)).parameters)
    assert theirs - others <= ours
