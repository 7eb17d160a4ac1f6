"""Backbones of transformers through the commands: prepare, train, predict."""

import json
import shutil

import pytest
import torch
import yaml

from cign.backbones.registry import load_backbone
from cign.data.media.presets import PRESETS
from cign.data.store import Store
from cign.learner import Learner
from networks import make_network


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """Where the networks lie."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def folders(networks):
    """The name of a pair by its kinds."""

    def name(visual, audio):
        return f"{make_network(networks, visual)}+{make_network(networks, audio)}"

    return name


@pytest.fixture
def done(cign):
    """Run a command that must succeed; gives its standard output and error."""

    def run(*arguments):
        code, out, error = cign(*arguments)
        assert code == 0, error
        return out, error

    return run


def probabilities(text):
    (clip,) = json.loads(text)
    assert clip["error"] is None
    return clip["modalities"]


@pytest.mark.parametrize(
    ("visual", "audio", "tokens"),
    [
        ("vit", "ast", ["--tokens", "2x2"]),
        ("dinov2", "clap", []),
        ("videomae", "ast", ["--tokens", "pooled"]),
        ("resnet", "clap", ["--tokens", "1x2+2x8"]),
        ("dinov3_vit", "clap_audio", []),
    ],
)
def test_prepare_train_and_predict(
    visual, audio, tokens, folders, done, world, recipe, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    store, run = tmp_path / "store", tmp_path / "run"
    name = folders(visual, audio)
    prepare = ("prepare", world.clips, store, "--backbone", name, "--workers", 0, *tokens)
    _, error = done(*prepare)
    short = f"{visual}+{audio}" + (f"@{tokens[1]}" if tokens else "")
    assert f"tokens of {short}: " in error
    info = Store.open(store).tokens().info
    assert info["backbone"] == short
    if tokens:
        sizes = {"2x2": (4, 9), "pooled": (1, 1), "1x2+2x8": (2, 16)}[tokens[1]]
        assert (info["num_visual_tokens"], info["num_audio_tokens"]) == sizes
    # The same again finds all of it there.
    written = (store / "tokens" / short / "visual.npy").stat().st_mtime_ns
    assert "tokens of" not in done(*prepare)[1]
    assert (store / "tokens" / short / "visual.npy").stat().st_mtime_ns == written

    done("train", store, "--out", run, "--recipe", recipe, "--tasks", 2)
    about = json.loads((run / "model" / "model.json").read_text())
    assert about["backbone"]["name"] == name + (f"@{tokens[1]}" if tokens else "")
    clip = world.test_clips()[0]
    found = probabilities(done("predict", run, clip, "--json")[0])
    # What the store's cached tokens of the same clip give.
    learner, opened = Learner.load(run), Store.open(store)
    row = [i for i, c in enumerate(opened.table.clips) if str(c.path) == clip]
    cache = opened.tokens()
    scores = learner.model.method.predict(
        torch.from_numpy(cache.audio(row)), torch.from_numpy(cache.visual(row))
    ).probabilities
    for modality, ranked in found.items():
        wanted = dict(zip(learner.model.classes, scores[modality][0].tolist(), strict=True))
        for entry in ranked:
            assert entry["probability"] == pytest.approx(wanted[entry["label"]], abs=5e-3)


@pytest.mark.parametrize(
    ("visual", "audio", "method", "flags"),
    [("vit", "clap", "finetune", []), ("videomae", "ast", "cign", ["--bf16"])],
)
def test_end_to_end_the_model_holds_its_networks(
    visual, audio, method, flags, done, world, networks, tmp_path, cign
):
    for kind in (visual, audio):
        make_network(networks, kind)
        shutil.copytree(networks / kind, tmp_path / kind)
    store, run = tmp_path / "store", tmp_path / "run"
    quick = {"num_epochs": 1, "min_steps": 0, "batch_size": 8, "learning_rate": 1e-3}
    options = {"training": quick, **({"depth": 1} if method == "cign" else {})}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"method": method, "options": options}))
    name = f"{tmp_path / visual}+{tmp_path / audio}@2x2"
    frames = [] if visual == "videomae" else ["--frames", 2]
    done("prepare", world.clips, store, "--backbone", name, "--workers", 0, *frames)
    train = ("train", store, "--out", run, "--recipe", recipe, "--tasks", 2, *flags)
    done(*train, "--regime", "end-to-end", "--backbone", name)
    model = Learner.load(run).model
    assert model.spec == Store.open(store).spec
    start = load_backbone(name).state_dict()
    trained = {
        key.partition("backbone.")[2]: value
        for key, value in model.method.state_dict().items()
        if "backbone." in key
    }
    assert set(start) <= set(trained)
    for half in ("inner.visual.network.", "inner.audio.network."):
        moved = [k for k in start if k.startswith(half) and not torch.equal(start[k], trained[k])]
        assert len(moved) > 10
    # Its folders are not needed any more.
    for kind in (visual, audio):
        shutil.rmtree(tmp_path / kind)
    clip = world.test_clips()[0]
    assert probabilities(done("predict", run, clip, "--json")[0])["audio_visual"]
    done("evaluate", run, store)
    code, _, error = cign("evaluate", run, world.store)
    assert code == 2
    assert "prepare a store with --backbone" in error


def test_grids_of_one_backbone_never_mix(done, world, recipe, tmp_path, cign):
    store = tmp_path / "store"
    for tokens in ("full", "pooled", "2x2"):
        prepare = ("prepare", world.clips, store, "--backbone", "small-random", "--workers", 0)
        done(*prepare, "--tokens", tokens)
    opened = Store.open(store)
    assert sorted(opened.backbones) == ["small-random", "small-random@2x2", "small-random@pooled"]
    assert len({opened.tokens(name).fingerprint for name in opened.backbones}) == 3
    numbers = {name: opened.tokens(name).info["num_visual_tokens"] for name in opened.backbones}
    assert numbers == {"small-random": 36, "small-random@2x2": 4, "small-random@pooled": 1}
    train = ("train", store, "--recipe", recipe, "--tasks", 2, "--out", tmp_path / "run")
    code, _, error = cign(*train)
    assert code == 2
    assert "name one with --backbone" in error
    done(*train, "--backbone", "small-random@pooled")
    done("predict", tmp_path / "run", world.test_clips()[0])
    # A store with another grid alone does not pass for the model's.
    code, _, error = cign("evaluate", tmp_path / "run", world.store)
    assert code == 2
    assert "contains no tokens of backbone 'small-random@pooled'" in error


def test_a_folder_that_moved_keeps_its_tokens(folders, done, world, networks, tmp_path):
    folders("vit", "ast")
    store = tmp_path / "store"
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for kind in ("vit", "ast"):
            shutil.copytree(networks / kind, tmp_path / place / kind)
        name = f"{tmp_path / place / 'vit'}+{tmp_path / place / 'ast'}"
        done("prepare", world.clips, store, "--backbone", name, "--workers", 0)
        assert Store.open(store).tokens().info["source"] == name
    assert Store.open(store).backbones == ("vit+ast",)


def test_presets_decide_what_is_decoded(done, world, tmp_path, cign, folders):
    assert set(PRESETS) == {"release", "small", "av_cil", "ast", "cav_mae", "pe_av", "real_10s"}
    for name, px, rate in (("av_cil", 224, 16_000), ("pe_av", 336, 48_000)):
        store = tmp_path / name
        few = tmp_path / "few"
        if not few.exists():
            for split in ("train", "test"):
                for folder in sorted((world.clips / split).iterdir())[:2]:
                    (few / split / folder.name).mkdir(parents=True)
                    for clip in sorted(folder.iterdir())[:1]:
                        shutil.copy(clip, few / split / folder.name)
        done("prepare", few, store, "--backbone", "none", "--preset", name, "--workers", 0)
        opened = Store.open(store)
        assert opened.frames([0]).shape == (1, 16, px, px, 3)
        assert opened.audio([0]).shape == (1, 10 * rate)
    # A preset that the backbone cannot take is refused in one sentence, before anything is made.
    for visual, preset, words in (
        ("vit", "release", "takes audio at 16000 Hz, not at 22050"),
        ("vit", "ast", "takes at most 1 s of audio, not 10"),
        ("videomae", "av_cil", "takes 4 frames of a clip, not 16"),
    ):
        prepare = ("prepare", world.clips, tmp_path / "no", "--preset", preset)
        code, out, error = cign(*prepare, "--backbone", folders(visual, "ast"))
        assert (code, out) == (2, "")
        assert words in error
    code, _, error = cign("prepare", world.clips, tmp_path / "no", "--preset", "avcil")
    assert "use one of release, small, av_cil, ast, cav_mae, pe_av, real_10s" in error
    assert not (tmp_path / "no").exists()


def test_tokens_that_do_not_fit_stop_before_anything_is_decoded(
    cign, done, world, tmp_path, monkeypatch
):
    # 36 clips: 27,648 bytes of frame and 96,000 of sound each, 4.45 MB; 12 tokens of the sound and
    # 36 of the picture, 192 half-precision values each, 0.66 MB; pooled 0.03 MB.
    monkeypatch.setattr("cign.data.prepare.token_making.free_bytes", lambda folder: 4_600_000)
    store = tmp_path / "store"
    prepare = ("prepare", world.clips, store, "--backbone", "small-random", "--workers", 0)
    with monkeypatch.context() as patch:
        decoded = []
        patch.setattr("cign.data.prepare.pipeline.decode_all", lambda *a, **k: decoded.append(a))
        code, out, error = cign(*prepare)
    assert (code, out) == (1, "")
    sentence = next(line for line in error.splitlines() if line.startswith("cign: "))
    assert sentence == (
        "cign: the tokens of 36 clips by backbone 'small-random' take 663.6 kB (18.4 kB per clip), "
        f"but {store} has 148.7 kB free for them: use fewer with --tokens pooled or, for example, "
        "2x2, or use a store folder on another disk"
    )
    assert not decoded
    assert not store.exists()
    # The first remedy works on that disk.
    _, error = done(*prepare, "--tokens", "pooled")
    assert (
        "tokens of small-random@pooled: 1 x 192 audio and 1 x 192 visual, "
        "768 B per clip, 27.6 kB for 36 clips"
    ) in error


def test_options_that_would_be_ignored_are_refused(cign, world, tmp_path):
    prepare = ("prepare", world.clips, tmp_path / "store")
    code, _, error = cign(*prepare, "--backbone", "none", "--tokens", "pooled")
    assert code == 2
    assert "--tokens has no effect with --backbone none: leave it out" in error
    code, _, error = cign(*prepare, "--tokens", "some")
    assert code == 2
    assert "unknown tokens 'some': use full, pooled, PxQ" in error
