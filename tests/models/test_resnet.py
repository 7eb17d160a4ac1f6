"""The release's pair of ResNets: shapes, augmentation, loading from a folder."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from cign.backbones.base import crop_and_flip, to_input
from cign.backbones.registry import load_backbone
from cign.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD, resnet_pair
from cign.data.media.decode import PRESETS
from cign.errors import InputError
from refusals import input_error

SPEC = PRESETS["release"]


@pytest.fixture(scope="module")
def pair():
    return load_backbone("resnet18-random")


def frames(batch=2):
    size = (batch, 1, SPEC.frame_px, SPEC.frame_px, 3)
    return torch.randint(
        0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_tokens_have_the_shapes_of_the_release(pair):
    with torch.inference_mode():
        seen = pair.visual_tokens(frames())
        heard = pair.audio_tokens(torch.zeros(2, SPEC.num_samples, dtype=torch.int16))
    assert seen.shape == (2, 49, 512)
    assert heard.shape == (2, pair.num_audio_tokens, 512)
    assert pair.audio_grid == (9, 9)  # 257 x 276 halved five times, rounded up
    assert pair.visual_grid == (7, 7)


def test_it_is_the_usual_resnet_18(pair):
    # 11,689,512 with the classifier of 1,000 classes, which has 512,000 + 1,000.
    assert sum(p.numel() for p in pair.visual.parameters()) == 11_689_512 - 513_000


def test_a_clip_alone_gives_the_tokens_it_gives_in_a_batch(pair):
    x = frames(3)
    with torch.inference_mode():
        together = pair.visual_tokens(x)
        alone = torch.cat([pair.visual_tokens(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_weights_of_a_folder_are_loaded_as_they_are(pair, tmp_path):
    pair.visual.save_pretrained(tmp_path / "my resnet")
    loaded = load_backbone(str(tmp_path / "my resnet"))
    assert loaded.name == "my resnet"
    for name, value in pair.visual.state_dict().items():
        assert torch.equal(value, loaded.visual.state_dict()[name]), name


def test_a_folder_without_weights_is_refused_in_one_sentence(pair, tmp_path):
    pair.visual.save_pretrained(tmp_path / "r")
    (tmp_path / "r" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"cannot be loaded .*: give a local folder"):
        load_backbone(str(tmp_path / "r"))
    pair.visual.save_pretrained(tmp_path / "part")
    weights = load_file(tmp_path / "part" / "model.safetensors")
    del weights["embedder.embedder.convolution.weight"]
    save_file(weights, tmp_path / "part" / "model.safetensors", {"format": "pt"})
    with input_error("missing-weights", "1", "'embedder.embedder"):
        load_backbone(str(tmp_path / "part"))
    with input_error("unknown-name", "'resnet19'", "resnet18"):
        load_backbone("resnet19")


def test_random_weights_come_from_their_seed_alone():
    one, same, other = resnet_pair(None), resnet_pair(None), resnet_pair(None, seed=1)
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_training_crops_and_flips_whole_clips():
    clip = torch.arange(6 * 6).view(1, 1, 1, 6, 6).expand(64, 2, 3, 6, 6).contiguous()
    torch.manual_seed(0)
    out = crop_and_flip(clip, 4)
    assert out.shape == (64, 2, 3, 4, 4)
    assert torch.equal(out[:, 0], out[:, 1])  # the frames of a clip stay together
    corners = {tuple(c[0, 0].flatten().tolist()) for c in out}
    assert len(corners) > 9  # nine places, mirrored or not
    for c in out:
        rows = c[0, 0]
        assert (rows[1] - rows[0] == 6).all()
        assert abs(int(rows[0, 1] - rows[0, 0])) == 1


def test_reading_resizes_the_whole_square():
    x = frames(1)
    plain = to_input(x, SPEC.frame_px, train=False)
    torch.testing.assert_close(plain, x[0].permute(0, 3, 1, 2).float() / 255)
    small = to_input(x, 224, train=False)
    assert small.shape == (1, 3, 224, 224)
    assert abs(float(small.mean() - plain.mean())) < 1e-3


def test_pictures_are_normalised_by_imagenets_constants(pair):
    assert pair.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert pair.std.flatten().tolist() == pytest.approx(IMAGENET_STD)


def test_random_halves_are_said(pair, tmp_path):
    (both,) = pair.notes
    assert "encoders have random weights" in both
    pair.visual.save_pretrained(tmp_path)
    (sound,) = resnet_pair(tmp_path).notes
    assert "audio encoder has random weights" in sound
    assert load_backbone("small").notes == ()
