"""Models by name: what travels, what is refused, what never asks a hub."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

import pages
from cign.learner import Learner
from cign.saved_model.hub import hub_name
from refusals import input_error, run_error


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that is a folder here: what is pushed lies there, what is asked for comes from it."""
    root = tmp_path / "hub"
    monkeypatch.chdir(tmp_path)

    def create_repo(name, *, private, exist_ok):
        (root / name).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(*, repo_id, folder_path, allow_patterns, delete_patterns, commit_message):
        for name in delete_patterns:
            (root / repo_id / name).unlink(missing_ok=True)
        for name in allow_patterns:
            if (Path(folder_path) / name).exists():
                shutil.copy(Path(folder_path) / name, root / repo_id)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def snapshot_download(name, *, revision, allow_patterns):
        if not (root / name).is_dir() or revision not in (None, "v1"):
            raise ConnectionError("no network\nand more")
        return str(root / name)

    for function in (create_repo, upload_folder, snapshot_download):
        monkeypatch.setattr(huggingface_hub, function.__name__, function)
    monkeypatch.setattr("cign.saved_model.hub.hub_trouble", str)  # it answers
    return root


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    Learner("cign_analytic", options={"width": 30}).learn(tiny[1], tasks=2, out=out)
    return out


def test_a_model_goes_there_and_back(run, tiny, hub, cign):
    learner = Learner.load(run)
    assert learner.push("me/instruments", licence="mit") == "https://hub/me/instruments/commit/1"
    there = sorted(path.name for path in (hub / "me/instruments").iterdir())
    assert there == ["README.md", "model.json", "model.safetensors"]  # no clip went along
    card = (hub / "me/instruments/README.md").read_text()
    assert '\nlicense: "mit"\n' in card
    for part in (*learner.model.classes, "`cign_analytic`", "`small-random`", "cign predict"):
        assert part in card
    for heading in ("Use", "Classes", "Results", "Limitations", "Licence"):
        assert f"\n## {heading}\n" in card
    file = min(map(str, (tiny[0] / "test").rglob("*.mp4")))
    code, out, _ = cign("predict", "me/instruments@v1", file, "--json")
    assert code == 0
    assert json.loads(out)[0]["label"] == next(learner.predict([file])).label
    learner.push("me/instruments", keep=True)
    assert Learner.load("me/instruments").model.kept.num_clips == learner.model.kept.num_clips
    learner.push("me/instruments")
    assert not (hub / "me/instruments/kept.safetensors").exists()


def test_what_the_page_says_of_passing_a_model_on(run, tiny, hub, capsys):
    shutil.copytree(run, "work/run")
    shutil.copy(min((tiny[0] / "test").rglob("*.mp4")), "clip.mp4")
    (script,) = re.findall(
        r"^```python\n(.*?)^```$", (pages.DOCS / "export.md").read_text(), re.M | re.S
    )
    exec(script, {})
    assert sorted(path.name for path in (hub / "owner/name").iterdir())[-1] == "model.safetensors"
    assert pages.run("cign predict owner/name clip.mp4", {}) == 0
    assert "clip.mp4" in capsys.readouterr().out


def test_a_model_on_a_backbone_of_this_machine_is_not_pushed_and_not_loaded(run, hub):
    learner = Learner.load(run)
    learner.push("me/instruments")
    learner.model.backbone = "/home/me/network"
    with input_error("unsupported", "'/home/me/network'"):
        learner.push("me/other")
    assert not (hub / "me/other").exists()
    path = hub / "me/instruments/model.json"
    about = json.loads(path.read_text())
    about["backbone"]["name"] = "../../etc"
    path.write_text(json.dumps(about))
    with input_error("unsupported", "me/instruments", "'../../etc'"):
        Learner.load("me/instruments")


def test_a_changed_download_is_refused(run, hub):
    Learner.load(run).push("me/instruments")
    path = hub / "me/instruments/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with input_error("damaged", "model.safetensors", "hub/me/instruments"):
        Learner.load("me/instruments")
    (hub / "me/instruments/model.json").unlink()
    with input_error("wrong-format", "me/instruments", "model.json"):
        Learner.load("me/instruments")


def test_without_a_network_one_sentence(hub, cign, run):
    code, out, err = cign("predict", "me/none", "clip.mp4")
    assert (code, out) == (2, "")
    assert (
        "could not be downloaded from the hub (ConnectionError: no network): check the name" in err
    )
    assert "and more" not in err


def test_a_push_that_fails(run, hub, monkeypatch):
    with input_error("bad-value", "'instruments'"):
        Learner.load(run).push("instruments")

    def refuse(*_, **__):
        raise PermissionError("401")

    monkeypatch.setattr(huggingface_hub, "create_repo", refuse)
    with run_error("hub-failed", "PermissionError: 401"):
        Learner.load(run).push("me/instruments")


def test_changing_a_model_of_a_hub_needs_a_copy(run, hub, cign):
    Learner.load(run).push("me/instruments")
    name = Learner.load(run).model.classes[0]
    code, _, err = cign("rename", "me/instruments", name, "new")
    assert code == 2
    assert "me/instruments is on the hub: name a folder for a changed copy with --out" in err
    assert cign("rename", "me/instruments", name, "new", "--out", "copy")[0] == 0
    assert "new" in Learner.load("copy").model.classes
    assert name in Learner.load("me/instruments").model.classes


def test_what_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    assert hub_name("me/model") == ("me/model", None)
    assert hub_name("me/model@main") == ("me/model", "main")
    for path in ("work/modle", "model", "/me/model", "./me/model", "../me", "me/a/b", "~/m", ""):
        assert hub_name(path) is None, path
