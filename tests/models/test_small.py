"""The small encoders: shapes, strict weights, size, and no cross-talk between clips."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.backbones import small
from cign.backbones.preprocessing.mel import LogMel, mel_filters
from cign.backbones.small import SmallPair, load_small_pair, random_small_pair
from refusals import input_error


@pytest.fixture(scope="module")
def clips() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randint(-9000, 9000, (3, 48_000), generator=generator).to(torch.int16)
    frames = torch.randint(0, 256, (3, 2, 96, 96, 3), generator=generator).to(torch.uint8)
    return audio, frames


def test_filters_are_triangles_on_the_mel_scale() -> None:
    """Against the formula written out point by point."""
    filters = mel_filters(64, 512, 16_000).numpy()

    def hz(mel: float) -> float:
        return 700.0 * (math.exp(mel / 1127.01048) - 1.0)

    top = 1127.01048 * math.log(1.0 + 8000.0 / 700.0)
    for m in (0, 7, 40, 63):
        low, centre, high = (hz(top * (m + i) / 65) for i in range(3))
        for k in range(257):
            f = k * 16_000 / 512
            height = (f - low) / (centre - low) if f < centre else (high - f) / (high - centre)
            assert filters[k, m] == pytest.approx(max(height, 0.0), abs=1e-5)
    assert (filters.sum(axis=0) > 0).all()


def test_log_mel_of_a_tone_against_numpy() -> None:
    times = np.arange(16_000) / 16_000
    wave = 0.5 * np.sin(2 * np.pi * 1000.0 * times)
    ours = LogMel()(torch.from_numpy(wave).float()[None])[0].numpy()
    assert ours.shape == (64, 1 + 16_000 // 256)
    padded = np.pad(wave, 256)
    window = np.sin(np.pi * np.arange(512) / 512) ** 2
    filters = mel_filters(64, 512, 16_000).numpy()
    for frame in (0, 10, 62):
        power = np.abs(np.fft.rfft(padded[frame * 256 : frame * 256 + 512] * window)) ** 2
        assert ours[:, frame] == pytest.approx(np.log(power @ filters + 1e-5), abs=2e-3)


def test_a_draft_has_no_memory_even_where_linspace_stays_on_the_processor(monkeypatch) -> None:
    """Loading a hub network replaces `torch.linspace`; torch may then forget the true one."""
    constructors = torch.utils._device._device_constructors()
    monkeypatch.setattr(
        torch.utils._device, "_device_constructors", lambda: constructors - {torch.linspace}
    )
    with torch.device("meta"):
        assert torch.linspace(0.0, 1.0, 3).device.type == "cpu"
        assert mel_filters(64, 512, 16_000).device.type == "meta"


def test_shapes(clips: tuple[torch.Tensor, torch.Tensor]) -> None:
    audio, visual = random_small_pair()
    with torch.inference_mode():
        assert audio(clips[0]).shape == (3, 12, 192)
        assert visual(clips[1]).shape == (3, 72, 192)
        assert audio.embed(clips[0]).shape == (3, 12, 192)
        assert audio(clips[0][:, :16_000]).shape == (3, 4, 192)
    assert [audio.num_tokens(n) for n in (48_000, 16_000)] == [12, 4]


def test_whole_numbers_and_floats_are_the_same_sound(
    clips: tuple[torch.Tensor, torch.Tensor],
) -> None:
    audio, _ = random_small_pair()
    with torch.inference_mode():
        assert torch.allclose(audio(clips[0]), audio(clips[0].float() / 32768), atol=1e-5)


def test_no_clip_or_frame_hears_of_another(clips: tuple[torch.Tensor, torch.Tensor]) -> None:
    pair = load_small_pair()
    with torch.inference_mode():
        for encoder, inputs in zip(pair, clips, strict=True):
            alone = torch.cat([encoder(one[None]) for one in inputs])
            assert torch.allclose(encoder(inputs), alone, atol=1e-4)
        frames = clips[1]
        both = pair[1](frames).unflatten(1, (2, 36))
        assert torch.allclose(both[:, 1], pair[1](frames[:, 1:]), atol=1e-4)


def test_shipped_weights_are_small_and_load_strictly(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    names = (small.AUDIO_FILE, small.VISUAL_FILE)
    files = [small.SHIPPED_WEIGHTS / name for name in names]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    assert (small.SHIPPED_WEIGHTS / small.RECORD_FILE).is_file()
    states = [load_file(path) for path in files]
    assert all(v.dtype == torch.float16 for state in states for v in state.values())
    for name, state in zip(names, states, strict=True):
        save_file(state, tmp_path / name)
    assert load_small_pair(tmp_path)[0].width == 192
    del states[0]["norm.bias"]
    save_file(states[0], tmp_path / names[0])
    with input_error("missing-weights", "norm.bias"):
        load_small_pair(tmp_path)
    (tmp_path / names[1]).unlink()
    with input_error("missing-weights", "audio.safetensors"):
        load_small_pair(tmp_path)


def test_the_pair_is_a_backbone(clips: tuple[torch.Tensor, torch.Tensor]) -> None:
    pair = SmallPair().eval()
    assert (pair.audio_grid, pair.visual_grid) == ((1, 12), (6, 6))
    assert pair.audio_dim == pair.visual_dim == 192
    with torch.inference_mode():
        assert pair.audio_tokens(clips[0]).shape == (3, pair.num_audio_tokens, 192)
        assert pair.visual_tokens(clips[1][:, :1]).shape == (3, pair.num_visual_tokens, 192)
    assert pair.fingerprint == SmallPair().fingerprint
    assert pair.fingerprint != SmallPair("small-random").fingerprint


def test_a_pair_made_by_hand_is_loaded_by_its_folder(tmp_path: Path) -> None:
    from cign.backbones.pretrain.training import PretrainConfig, pretrain
    from cign.backbones.registry import load_backbone

    pretrain(tmp_path / "mine", PretrainConfig(clips_per_class=0, seed=3))
    pair = load_backbone(str(tmp_path / "mine"))
    assert pair.name == "mine"
    ours, theirs = pair.state_dict()["audio.project.weight"], random_small_pair(3)[0].project.weight
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_pair_of_patches_and_more_blocks_is_written_loaded_and_prompted(tmp_path: Path) -> None:
    from cign.backbones.pretrain.training import PretrainConfig, pretrain
    from cign.backbones.registry import load_backbone, load_blocks

    config = PretrainConfig(clips_per_class=0, seed=5, depth=3, patches=True)
    pretrain(tmp_path / "vit", config)
    pair = load_backbone(str(tmp_path / "vit"))
    generator = torch.Generator().manual_seed(0)
    audio = torch.rand(2, 48_000, generator=generator) - 0.5
    frames = torch.randint(0, 256, (2, 1, 96, 96, 3), generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        found = pair.audio_tokens(audio), pair.visual_tokens(frames)
    assert [part.shape for part in found] == [(2, 12, 192), (2, 36, 192)]
    blocks = load_blocks(str(tmp_path / "vit-stem"), "l2p")
    assert blocks.audio.num_blocks == blocks.visual.num_blocks == 3
    # A patch is mapped linearly: its input token without the positional encoding, in a loop.
    visual = pair.visual
    patch = frames[0, 0, 16:32, 32:48].permute(2, 0, 1).double() / 255.0 * 4.0 - 2.0
    weight, bias = visual.stem.map.weight.double(), visual.stem.map.bias.double()
    wanted = torch.stack([(weight[i] * patch).sum() + bias[i] for i in range(len(weight))])
    x = 4.0 * (frames[0].permute(0, 3, 1, 2).float() / 255.0) - 2.0
    assert torch.allclose(visual.stem(x)[0, :, 1, 2].double(), wanted, atol=1e-4)
    # Its weights do not fit the default shape, and a damaged record is named.
    (tmp_path / "vit" / small.RECORD_FILE).unlink()
    with input_error("missing-weights", "audio.safetensors"):
        load_small_pair(tmp_path / "vit")
    (tmp_path / "vit" / small.RECORD_FILE).write_text('{"config": {"depth": "deep"}}')
    with input_error("damaged", "small.json"):
        load_small_pair(tmp_path / "vit")


def test_random_weights_follow_the_seed() -> None:
    first, again, other = (random_small_pair(seed)[0].project.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
