"""Fewer tokens: what the averages are, and that no two grids pass for one another."""

import pytest
import torch

from cign.backbones.fitting import fit
from cign.backbones.reduced import split_tokens, with_tokens
from cign.backbones.registry import load_backbone
from cign.data.media.decode import MediaSpec
from cign.errors import InputError
from refusals import input_error


@pytest.fixture(scope="module")
def inner():
    return load_backbone("small-random")  # 6 x 6 of a frame, 1 x 12 of the sound


@pytest.fixture(scope="module")
def tokens(inner):
    """Three frames of two clips, and the finished tokens."""
    backbone = load_backbone("small-random")
    fit(backbone, MediaSpec(num_frames=3, frame_px=96, rate_hz=16_000))
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 3, 96, 96, 3), dtype=torch.uint8, generator=generator)
    audio = torch.randint(-9000, 9000, (2, 48_000), dtype=torch.int16, generator=generator)
    with torch.inference_mode():
        return frames, audio, backbone.visual_tokens(frames), backbone.audio_tokens(audio)


def reduced(grid, num_frames=3):
    backbone = load_backbone(f"small-random@{grid}")
    fit(backbone, MediaSpec(num_frames=num_frames, frame_px=96, rate_hz=16_000))
    return backbone


def test_pooled_is_the_mean_of_all_tokens(tokens):
    frames, audio, seen, heard = tokens
    backbone = reduced("pooled")
    assert (backbone.num_visual_tokens, backbone.num_audio_tokens) == (1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.visual_tokens(frames), seen.mean(1, keepdim=True))
        torch.testing.assert_close(backbone.audio_tokens(audio), heard.mean(1, keepdim=True))


@pytest.mark.parametrize(
    ("grid", "rows", "columns", "moments"),
    [("3x2", 3, 2, 12), ("1x1", 1, 1, 12), ("6x6", 6, 6, 12), ("2x3+1x4", 2, 3, 4)],
)
def test_grids_are_averages_of_blocks(tokens, grid, rows, columns, moments):
    frames, audio, seen, heard = tokens
    backbone = reduced(grid)
    assert backbone.visual_grid == (rows, columns)
    assert backbone.audio_grid == (1, moments)
    with torch.inference_mode():
        found, sound = backbone.visual_tokens(frames), backbone.audio_tokens(audio)
    blocks = seen.reshape(2, 3, rows, 6 // rows, columns, 6 // columns, -1).mean((3, 5))
    torch.testing.assert_close(found, blocks.flatten(1, 3))
    assert found.shape[1] == backbone.num_visual_tokens == 3 * rows * columns
    torch.testing.assert_close(sound, heard.reshape(2, moments, 12 // moments, -1).mean(2))


def test_the_sound_keeps_one_row_and_sixteen_moments_at_most():
    backbone = load_backbone("resnet18-random@2x2")  # its sound has 9 x 9 tokens
    assert backbone.audio_grid == (1, 9)
    assert load_backbone("resnet18-random@7x7+3x9").audio_grid == (3, 9)

    from cign.backbones.reduced import ReducedBackbone

    long = load_backbone("resnet18-random")
    long.audio_grid = (9, 40)
    assert ReducedBackbone(long, "2x2").audio_grid == (1, 16)


def test_no_two_grids_have_one_fingerprint(inner):
    names = ["small-random", *(f"small-random@{g}" for g in ("pooled", "6x6", "1x1", "1x1+1x1"))]
    found = {load_backbone(name).fingerprint for name in names}
    assert len(found) == len(names)
    assert load_backbone("small-random@6x6").fingerprint in found


def test_names_carry_the_grid():
    assert split_tokens("a/b+c/d@4x4+1x8") == ("a/b+c/d", "4x4+1x8")
    assert split_tokens("a/b@c") == ("a/b@c", None)
    assert with_tokens("small", None) == with_tokens("small", "full") == "small"
    assert with_tokens("small", "pooled") == with_tokens("small@pooled", "pooled") == "small@pooled"
    assert with_tokens("small@2x2", None) == "small@2x2"
    assert load_backbone("small-random@2x2").name == "small-random@2x2"


@pytest.mark.parametrize("grid", ["4", "4x", "x4", "fewer", "4x4+2", "-1x2", "4x4x4"])
def test_a_grid_that_is_none_is_refused(grid):
    with input_error("unknown-name", "tokens", "pooled", "PxQ"):
        with_tokens("small", grid)


def test_grids_that_do_not_fit_are_refused():
    for grid, words in (
        ("7x6", "a grid of 7 x 6 for a frame, backbone 'small-random' has 6 x 6"),
        ("0x1", "a grid of 0 x 1 for a frame"),
        ("2x2+2x2", "a grid of 2 x 2 for the audio, backbone 'small-random' has 1 x 12"),
    ):
        with pytest.raises(InputError, match=words):
            load_backbone(f"small-random@{grid}")
    with input_error("conflicting-options", "'small@pooled'", "2x2"):
        with_tokens("small@pooled", "2x2")
    with input_error("conflicting-options", "--tokens", "'small-stem'"):
        load_backbone("small-stem@pooled")
