"""Frozen transformers that prompts can enter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cign.backbones.blocks import FrozenBlocks, TokenBlocks
from cign.backbones.registry import load_backbone, load_blocks
from cign.backbones.small import SmallPair
from cign.backbones.stem import StemBackbone
from cign.layers.transformer import Transformer
from refusals import input_error


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clips(num=2, num_frames=1):
    rng = np.random.default_rng(0)
    audio = rng.integers(-9000, 9000, (num, 48_000)).astype(np.int16)
    frames = rng.integers(0, 256, (num, num_frames, 96, 96, 3)).astype(np.uint8)
    return torch.from_numpy(audio), torch.from_numpy(frames)


def toy_stack(num_tokens=3, width=8, depth=2):
    torch.manual_seed(0)
    stack = Transformer(width, depth, 2).blocks
    norm = torch.nn.LayerNorm(width)
    return TokenBlocks(stack, norm, width=width, num_tokens=num_tokens).eval()


@pytest.mark.parametrize("name", ["small", "small-random"])
@pytest.mark.parametrize("num_frames", [1, 3])
@torch.inference_mode()
def test_stem_then_blocks_are_the_backbones_tokens_exactly(name, num_frames):
    pair, stem = load_backbone(name), load_backbone(f"{name}-stem")
    audio, frames = clips(num_frames=num_frames)
    blocks = stem.token_blocks()
    heard, seen = stem.audio_tokens(audio), stem.visual_tokens(frames)
    assert heard.shape == (2, 12, 192)
    assert seen.shape == (2, num_frames * 36, 192)
    assert torch.equal(blocks.audio(heard).flatten(1, 2), pair.audio_tokens(audio))
    assert torch.equal(blocks.visual(seen).flatten(1, 2), pair.visual_tokens(frames))
    assert not torch.equal(seen, pair.visual_tokens(frames))


def test_stem_has_the_shapes_of_its_backbone_and_a_name_and_fingerprint_of_its_own():
    pair, stem = SmallPair("small-random"), StemBackbone(SmallPair("small-random"))
    assert stem.name == "small-random-stem"
    assert stem.fingerprint != pair.fingerprint
    assert stem.fingerprint == load_backbone("small-random-stem").fingerprint
    for name in ("audio_dim", "visual_dim", "num_audio_tokens", "num_visual_tokens", "spec"):
        assert getattr(stem, name) == getattr(pair, name)


def test_frozen_blocks_are_a_copy_without_gradients_in_evaluation_mode():
    pair = SmallPair("small-random")
    blocks = pair.token_blocks().frozen()
    assert not any(p.requires_grad for p in blocks.parameters())
    assert all(p.requires_grad for p in pair.parameters())
    holder = torch.nn.ModuleList([blocks]).train()
    assert holder.training
    assert not any(module.training for module in blocks.modules())
    with torch.no_grad():
        blocks.audio.norm.weight.fill_(7.0)
    assert not (pair.audio.norm.weight == 7.0).any()


def test_prompts_come_first_and_touch_their_own_clip_only():
    blocks = toy_stack()
    torch.manual_seed(1)
    tokens, prompts = torch.randn(4, 2 * 3, 8), torch.randn(4, 5, 8)  # two frames a clip
    out = blocks(tokens, prompts=prompts)
    assert out.shape == (4, 2, 5 + 3, 8)
    for b in range(4):
        for k in range(2):
            x = torch.cat([prompts[b], tokens[b, 3 * k : 3 * k + 3]])[None]
            for block in blocks.blocks:
                x = block(x)
            torch.testing.assert_close(out[b, k], blocks.norm(x)[0])


def attend_by_hand(attention, x, key_prefix, value_prefix):
    """Attention of one sequence [N, D] with a prefix, in float64 loops."""
    num_heads, width = attention.num_heads, x.shape[1]
    size = width // num_heads

    def linear(layer, rows):
        return rows @ layer.weight.detach().double().numpy().T + layer.bias.detach().numpy()

    queries, both = linear(attention.query, x), linear(attention.key_value, x)
    keys = np.concatenate([key_prefix, both[:, :width]])
    values = np.concatenate([value_prefix, both[:, width:]])
    mixed = np.zeros_like(x)
    for h in range(num_heads):
        part = slice(h * size, (h + 1) * size)
        for n in range(len(x)):
            scores = np.array([queries[n, part] @ key[part] for key in keys]) / np.sqrt(size)
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            mixed[n, part] = sum(w * v[part] for w, v in zip(weights, values, strict=True))
    return linear(attention.out, mixed)


def test_prefixes_are_extra_keys_and_values_of_their_own_clip_and_block():
    """Against loops in float64, clip by clip: batch, key and value cannot have been mixed."""
    blocks = toy_stack()
    torch.manual_seed(1)
    tokens = torch.randn(3, 2 * 3, 8)  # two frames a clip
    keys, values = torch.randn(3, 4, 8), torch.randn(3, 4, 8)
    out = blocks(tokens, prefixes={1: (keys, values)})
    assert out.shape == (3, 2, 3, 8)
    for b in range(3):
        for k in range(2):
            first, second = blocks.blocks
            x = first(tokens[b, 3 * k : 3 * k + 3][None])[0].detach()
            y = second.norm_attention(x).detach().double().numpy()
            prefix = keys[b].double().numpy(), values[b].double().numpy()
            mixed = attend_by_hand(second.attention, y, *prefix)
            x = x + torch.from_numpy(mixed).float()
            x = x + second.mlp(second.norm_mlp(x))
            torch.testing.assert_close(out[b, k], blocks.norm(x), atol=1e-5, rtol=1e-5)


def test_a_backbone_without_blocks_is_refused():
    with input_error("unsupported", "'resnet18-random'"):
        load_backbone("resnet18-random-stem")


def test_blocks_of_finished_tokens_are_refused():
    with input_error("unsupported", "l2p", "'small'"):
        load_blocks("small", "l2p")


def test_blocks_of_other_weights_are_refused():
    with input_error("weights-mismatch", "'small-random-stem'"):
        load_blocks("small-random-stem", "l2p", fingerprint="0" * 64)


def test_blocks_of_a_store_with_several_frames_are_found():
    backbone = load_backbone("small-random-stem")
    backbone.spec = replace(backbone.spec, num_frames=3)
    blocks = load_blocks(
        "small-random-stem", "l2p", spec=backbone.spec, fingerprint=backbone.fingerprint
    )
    assert isinstance(blocks, FrozenBlocks)
    assert not any(p.requires_grad for p in blocks.parameters())
    expected = backbone.token_blocks().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in blocks.state_dict().items())
