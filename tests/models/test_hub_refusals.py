"""Networks of transformers that cannot be read, or not as a pair, are refused in one sentence."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from cign.backbones.fitting import fit
from cign.backbones.registry import load_backbone
from cign.data.media.decode import MediaSpec
from cign.errors import InputError
from networks import make_network


def refused(name, **how):
    with pytest.raises(InputError) as caught:
        load_backbone(str(name), **how)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("kind", ["vit", "dinov2", "videomae", "ast", "clap"])
def test_a_folder_with_missing_weights_is_refused_naming_the_first(kind, root, tmp_path):
    folder = shutil.copytree(make_network(root, kind), tmp_path / kind)
    weights = load_file(folder / "model.safetensors")
    # Names on disk are not always the modules'; one that the token path needs is taken away.
    gone = next(name for name in sorted(weights) if "patch_embed" in name and "weight" in name)
    del weights[gone]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    pictures = kind not in ("ast", "clap")
    other = make_network(root, "ast" if pictures else "vit")
    name = f"{folder}+{other}" if pictures else f"{other}+{folder}"
    sentence = refused(name)
    assert sentence.startswith(f"backbone {str(folder)!r} lacks 1 weights, the first '")
    assert "patch_embed" in sentence
    assert sentence.endswith("give a folder with all of them")


def test_a_folder_without_weights_or_with_damaged_ones_is_refused(root, tmp_path):
    other = make_network(root, "ast")
    folder = shutil.copytree(make_network(root, "vit"), tmp_path / "vit")
    (folder / "model.safetensors").write_bytes(b"not weights")
    assert f"backbone {str(folder)!r} cannot be loaded (" in refused(f"{folder}+{other}")
    (folder / "model.safetensors").unlink()
    assert refused(f"{folder}+{other}").endswith(
        "restore the folder, with its weights in model.safetensors"
    )
    config = json.loads((folder / "config.json").read_text())
    shutil.copy(root / "vit" / "model.safetensors", folder)
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    assert f"backbone {str(folder)!r} cannot be loaded (" in refused(f"{folder}+{other}")
    (folder / "config.json").write_text("{")
    assert "config.json cannot be read" in refused(f"{folder}+{other}")
    (folder / "config.json").unlink()
    assert "has no config.json" in refused(f"{folder}+{other}")


def test_a_hub_name_without_a_network_is_refused_with_the_remedy(root, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (f"nobody/nothing+{make_network(root, 'ast')}", "nobody/nothing"):
        sentence = refused(name)
        assert sentence.startswith("backbone 'nobody/nothing' cannot be loaded (")
        assert sentence.endswith(
            "without a connection give a local folder with its config.json and "
            "model.safetensors, or use --backbone resnet18-random or small"
        )


def test_an_unknown_architecture_is_refused_naming_what_is_allowed(root, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text('{"model_type": "bert"}')
    sentence = refused(f"{tmp_path / 'b'}+{make_network(root, 'ast')}")
    assert sentence == (
        f"unknown architecture of backbone {str(tmp_path / 'b')!r} 'bert': use one of vit, dinov2, "
        "dinov3_vit, videomae, resnet, audio-spectrogram-transformer, clap, clap_audio_model, "
        "pe_audio_video"
    )


def test_a_file_instead_of_a_folder_is_refused(root):
    make_network(root, "ast")
    file = make_network(root, "vit") / "model.safetensors"
    for name in (f"{file}+{root / 'ast'}", file):
        assert refused(name) == (
            f"backbone {str(file)!r} is a file: give the folder with config.json and "
            "model.safetensors"
        )


def test_halves_that_do_not_make_a_pair_are_refused(root):
    vit, ast = make_network(root, "vit"), make_network(root, "ast")
    assert refused(vit) == (
        f"backbone {str(vit)!r} is visual only: add an audio network, for example "
        f"{vit}+sfx, or {vit}+resnet18-random to train one end "
        "to end"
    )
    assert "is audio only: put a visual network before it" in refused(ast)
    assert "which is not a visual network" in refused(f"{ast}+{vit}")
    assert "swap the two names" in refused(f"{ast}+{vit}")
    assert "name one visual and one audio network" in refused(f"{vit}+{ast}+{ast}")
    assert "name one visual and one audio network" in refused(f"{vit}+")
    assert refused("/not/there/vit+/not/there/ast") == (
        "backbone folder /not/there/vit does not exist: restore it, or run in a directory that has "
        "a folder 'vit' with the same weights"
    )


def test_what_is_decoded_must_suit_both_halves(pair):
    video = pair("videomae", "ast")
    fits = video.spec
    for spec, words in (
        (MediaSpec(num_frames=2, frame_px=32, rate_hz=16_000, window_s=1.0), "takes 4 frames"),
        (MediaSpec(num_frames=4, frame_px=32, rate_hz=48_000, window_s=1.0), "at 16000 Hz"),
        (MediaSpec(num_frames=4, frame_px=32, rate_hz=16_000, window_s=3.0), "at most 1 s"),
    ):
        with pytest.raises(InputError, match=words):
            fit(video, spec)
        assert video.spec == fits
