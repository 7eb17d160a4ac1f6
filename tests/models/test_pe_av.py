"""PE-AV's halves, from a small random network whose image part is a ViT instead of timm's."""

import importlib.util
import json
import sys
from types import ModuleType

import pytest
import torch

from cign.backbones.fitting import fit
from cign.backbones.hub import pe_av
from cign.backbones.hub.loading import Source
from cign.backbones.registry import load_backbone
from cign.data.media.decode import MediaSpec
from cign.errors import InputError

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "head_dim": 16,
}


@pytest.fixture(scope="module")
def whole():
    from transformers import (
        PeAudioEncoderConfig,
        PeAudioVideoEncoderConfig,
        PeVideoEncoderConfig,
        ViTConfig,
    )
    from transformers.models.pe_audio_video.modeling_pe_audio_video import PeAudioVideoEncoder

    vit = ViTConfig(
        image_size=32,
        patch_size=16,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        num_labels=24,
    )
    dac = {
        "downsampling_ratios": [4, 8],
        "encoder_hidden_size": 8,
        "codebook_dim": 16,
        "hidden_size": 32,
    }
    config = PeAudioVideoEncoderConfig(
        audio_config=PeAudioEncoderConfig(dac_config=dac, **SMALL),
        video_config=PeVideoEncoderConfig(vision_config=vit, **SMALL),
        **SMALL,
    )
    torch.manual_seed(0)
    encoder = PeAudioVideoEncoder(config).eval()
    return type("Whole", (), {"audio_video_encoder": encoder})()


@pytest.fixture
def pair(whole, monkeypatch):
    monkeypatch.setattr(pe_av, "load_network", lambda source, cls: whole)
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    said = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    source = Source(name="pe", config={"model_type": "pe_audio_video"}, preprocessing=said)
    return pe_av.load_pe_av(source, "pe").eval()


def test_tokens_are_those_of_its_own_encoders(pair, whole):
    assert pair.spec == MediaSpec(num_frames=16, frame_px=32, rate_hz=48_000, window_s=10.0)
    fit(pair, MediaSpec(num_frames=3, frame_px=32, rate_hz=48_000, window_s=0.05))
    assert (pair.num_visual_tokens, pair.visual_grid) == (3, (1, 1))
    assert pair.audio_grid == (1, 75)  # 2,400 samples, 32 of them a token
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8, generator=generator)
    audio = torch.randint(-9000, 9000, (2, 2390), dtype=torch.int16, generator=generator)
    from transformers import PeAudioFeatureExtractor

    waveforms = [clip.numpy() / 32768 for clip in audio]
    made = PeAudioFeatureExtractor(hop_length=32)(
        waveforms, sampling_rate=48_000, return_tensors="pt"
    )
    pixels = (frames.permute(0, 1, 4, 2, 3) / 255 - 0.5) / 0.5
    parts = whole.audio_video_encoder.embedder
    with torch.inference_mode():
        found = pair.audio_tokens(audio), pair.visual_tokens(frames)
        wanted = (
            parts.audio_encoder(made["input_values"].float()).last_hidden_state,
            parts.video_encoder(pixels).last_hidden_state,
        )
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert found[0].shape == (2, 75, 32)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_without_timm_it_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "pe_audio_video"}))
    with pytest.raises(InputError) as caught:
        load_backbone(str(tmp_path))
    assert str(caught.value) == (
        f"backbone {tmp_path.name!r} builds its visual network with timm, which cannot be "
        "imported (No module named 'timm'): install timm and a torchvision that fits this torch, "
        "or use another backbone, for example facebook/dinov2-small+laion/clap-htsat-unfused"
    )
