"""Pairs of transformers networks: input, tokens and loading, held against transformers itself."""

import json
import shutil

import numpy as np
import pytest
import torch

from cign.backbones.fitting import fit, source_of
from cign.backbones.registry import load_backbone, resolve_name
from cign.data.media.decode import MediaSpec
from networks import PICTURES, SOUNDS, make_network, processor


def clips(spec, batch=3, seed=0):
    """Random frames and samples."""
    generator = torch.Generator().manual_seed(seed)
    size = (batch, spec.num_frames, spec.frame_px, spec.frame_px, 3)
    frames = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    samples = (batch, spec.num_samples)
    return frames, torch.randint(-9000, 9000, samples, dtype=torch.int16, generator=generator)


def their_input(kind, frames):
    """What the network's own processor makes of frames [B, K, S, S, 3]: [B, K, 3, P, P]."""
    theirs = processor(kind)
    made = [
        theirs(list(clip.numpy()), return_tensors="np", input_data_format="channels_last")
        for clip in frames
    ]
    x = np.stack([part["pixel_values"] for part in made])
    return torch.from_numpy(x[:, 0] if x.ndim == 6 else x).float()


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_become_what_the_networks_own_code_makes_of_them(kind, pair, root):
    import transformers

    backbone = pair(kind, "ast")
    frames, _ = clips(backbone.spec)
    wanted_input = their_input(kind, frames)
    found_input = backbone.visual.to_input(frames)
    torch.testing.assert_close(found_input, wanted_input, rtol=0, atol=2e-6)
    plain = transformers.AutoModel.from_pretrained(root / kind).eval()
    x = wanted_input if kind == "videomae" else wanted_input.flatten(0, 1)
    with torch.inference_mode():
        out = plain(pixel_values=x).last_hidden_state
        found = backbone.visual_tokens(frames)
    special = {"vit": 1, "dinov2": 1, "dinov3_vit": 5, "videomae": 0}.get(kind)
    out = out.flatten(2).transpose(1, 2) if special is None else out[:, special:]
    wanted = out.reshape(len(frames), -1, out.shape[-1])
    assert found.shape == (3, backbone.num_visual_tokens, backbone.visual_dim)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", PICTURES)
def test_stored_frames_of_another_size_are_resized_as_pillow_does(kind, pair):
    backbone = pair(kind, "ast")
    rows = torch.linspace(0, 255, 80)
    smooth = torch.stack(
        [rows[:, None].expand(80, 80), rows.expand(80, 80), rows.flip(0)[:, None].expand(80, 80)],
        -1,
    )
    frames = smooth.to(torch.uint8).expand(2, backbone.spec.num_frames, 80, 80, 3).contiguous()
    found, wanted = backbone.visual.to_input(frames), their_input(kind, frames)
    level = 1 / 255 / float(backbone.visual.std.min())
    assert float((found - wanted).abs().max()) < 1.01 * level  # Pillow rounds to whole levels


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("kind", SOUNDS)
@pytest.mark.parametrize("window_s", [1.0, 0.45])
def test_sounds_become_what_the_networks_own_code_makes_of_them(kind, window_s, pair, root):
    import transformers

    backbone = pair("vit", kind)
    fit(backbone, MediaSpec(frame_px=32, rate_hz=backbone.spec.rate_hz, window_s=window_s))
    _, audio = clips(backbone.spec)
    waveforms = list(audio.numpy().astype(np.float32) / 32768)
    made = processor(kind)(waveforms, sampling_rate=backbone.spec.rate_hz, return_tensors="pt")
    name = "input_values" if kind == "ast" else "input_features"
    wanted_input = made[name].float()
    found_input = backbone.audio.to_input(audio.float() / 32768)
    torch.testing.assert_close(found_input, wanted_input, rtol=1e-4, atol=2e-3)
    cls = {
        "ast": transformers.ASTModel,
        "clap": transformers.ClapModel,
        "clap_audio": transformers.ClapAudioModel,
    }[kind]
    plain = cls.from_pretrained(root / kind).eval()
    with torch.inference_mode():
        found = backbone.audio_tokens(audio)
        if kind == "ast":
            out = plain(input_values=wanted_input).last_hidden_state[:, 2:]
            rows, columns = 5, 9  # (64 - 16) // 10 + 1, (100 - 16) // 10 + 1
            out = out.unflatten(1, (rows, columns))
            # 98 or 43 frames of sound: patches begin every 10 of them.
            out = out[:, :, : {1.0: 9, 0.45: 5}[window_s]].flatten(1, 2)
        else:
            plain = plain.audio_model if kind == "clap" else plain
            longer = torch.zeros(3, 1)
            out = plain(input_features=wanted_input, is_longer=longer).last_hidden_state
            out = out.flatten(2).transpose(1, 2)
    assert found.shape == (3, backbone.num_audio_tokens, backbone.audio_dim)
    torch.testing.assert_close(found, out, rtol=1e-3, atol=1e-3)


def test_claps_time_runs_fastest_within_a_frequency(pair):
    backbone = pair("vit", "clap")
    fit(backbone, MediaSpec(frame_px=32, rate_hz=48_000, window_s=1.0))
    quiet = torch.zeros(1, 48_000)
    click = quiet.clone()
    click[:, 36_000:36_500] = 0.5
    with torch.inference_mode():
        change = (backbone.audio_tokens(click) - backbone.audio_tokens(quiet)).norm(dim=-1)
    by_time = change.view(*backbone.audio_grid).mean(dim=0)
    assert int(by_time.argmax()) in (11, 12, 13)  # 0.75 of 16


@pytest.mark.parametrize(("visual", "audio"), [("videomae", "clap"), ("resnet", "ast")])
def test_a_clip_alone_gives_the_tokens_it_gives_in_a_batch(visual, audio, pair):
    backbone = pair(visual, audio)
    frames, samples = clips(backbone.spec)
    with torch.inference_mode():
        for read, x in ((backbone.visual_tokens, frames), (backbone.audio_tokens, samples)):
            alone = torch.cat([read(x[i : i + 1]) for i in range(3)])
            torch.testing.assert_close(read(x), alone, rtol=1e-4, atol=1e-4)


def test_training_crops_and_flips_whole_clips_with_the_releases_margin(pair):
    half = pair("videomae", "ast").visual
    frame = torch.arange(32, dtype=torch.uint8).mul(8)
    frames = frame[None, None, None, :, None].expand(32, 4, 32, 32, 3).contiguous()
    torch.manual_seed(0)
    half.train()
    try:
        x = half.to_input(frames)
    finally:
        half.eval()
    assert x.shape == (32, 4, 3, 32, 32)
    assert torch.equal(x[:, 0], x[:, 3])  # the frames of a clip stay together
    rising = x[:, 0, 0, 0, -1] > x[:, 0, 0, 0, 0]
    assert 0 < int(rising.sum()) < 32
    # 32 * 246 / 224 = 35 pixels: four places for the crop.
    assert 3 <= len({round(float(v), 4) for v in x[rising][:, 0, 0, 0, 0]}) <= 4


def test_a_folder_without_a_processor_is_prepared_as_published_and_says_so(root, tmp_path):
    for kind in ("vit", "ast"):
        shutil.copytree(make_network(root, kind), tmp_path / kind)
        (tmp_path / kind / "preprocessor_config.json").unlink()
    backbone = load_backbone(f"{tmp_path / 'vit'}+{tmp_path / 'ast'}")
    assert backbone.visual.how.mean == (0.5, 0.5, 0.5)
    assert (backbone.audio.mean, backbone.audio.std) == (-4.2677393, 4.5689974)
    first, second = backbone.notes
    prepared = "has no preprocessor_config.json: its visual input is prepared as published for vit"
    assert prepared in first
    assert "its audio input is prepared as published for audio-spectrogram-transformer" in second


def test_constants_of_the_input_are_part_of_the_fingerprint(root, tmp_path):
    make_network(root, "vit")
    folder = shutil.copytree(make_network(root, "ast"), tmp_path / "ast")
    name = f"{root / 'vit'}+{folder}"
    before = load_backbone(name)
    assert before.fingerprint == load_backbone(name).fingerprint
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "mean": -4.0}))
    assert load_backbone(name).fingerprint != before.fingerprint


def test_a_name_is_short_and_its_source_loads_from_anywhere(root, monkeypatch, tmp_path):
    for kind in ("vit", "ast"):
        make_network(root, kind)
    monkeypatch.chdir(root)
    backbone = load_backbone("vit+ast")
    assert backbone.name == "vit+ast"
    assert source_of(backbone) == resolve_name("vit+ast") == f"{root / 'vit'}+{root / 'ast'}"
    monkeypatch.chdir(tmp_path)
    again = load_backbone(source_of(backbone))
    assert (again.name, again.fingerprint) == (backbone.name, backbone.fingerprint)
    # Folders that have moved are looked for in the current one.
    shutil.copytree(root / "vit", tmp_path / "vit")
    moved = load_backbone(f"/not/there/vit+{root / 'ast'}")
    assert moved.fingerprint == backbone.fingerprint


def test_networks_are_built_from_their_record_alone(pair):
    backbone = pair("dinov2", "clap")
    record = json.loads(json.dumps(backbone.record))
    built = load_backbone("/gone/dinov2+/gone/clap", weights=False, record=record)
    assert built.name == backbone.name
    assert not torch.equal(
        built.visual.network.embeddings.patch_embeddings.projection.weight,
        backbone.visual.network.embeddings.patch_embeddings.projection.weight,
    )
    built.load_state_dict(backbone.state_dict(), strict=True)
    frames, audio = clips(backbone.spec)
    with torch.inference_mode():
        assert torch.equal(built.visual_tokens(frames), backbone.visual_tokens(frames))
        assert torch.equal(built.audio_tokens(audio), backbone.audio_tokens(audio))


def test_the_releases_networks_are_halves_too(root):
    make_network(root, "ast")
    backbone = load_backbone(f"resnet18-random+{root / 'ast'}")
    assert backbone.spec == MediaSpec(frame_px=246, rate_hz=16_000, window_s=1.0)
    release = load_backbone("resnet18-random")
    frames, _ = clips(release.spec, batch=1)
    with torch.inference_mode():
        found, wanted = backbone.visual_tokens(frames), release.visual_tokens(frames)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
