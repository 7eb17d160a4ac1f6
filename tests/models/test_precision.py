"""bfloat16 reaches transformers and nothing else, and changes results by rounding only."""

import pytest
import torch

from cign.layers.precision import bf16_if
from toy import SHAPE, toy_method

TRUNK = {"trunk": "transformer", "num_heads": 2}
CASES = [("finetune", TRUNK), ("podnet", TRUNK), ("av_cil", TRUNK), ("cign", {}), ("l2p", {})]
CASES += [("dualprompt", {})]


def scores(name, options, bf16):
    torch.manual_seed(1)
    method = toy_method(name, options, bf16=bf16)
    method.grow(3)
    for parameter in method.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    method.eval()
    audio = torch.randn(5, SHAPE.num_audio_tokens, SHAPE.audio_dim)
    visual = torch.randn(5, SHAPE.num_visual_tokens, SHAPE.visual_dim)
    with torch.no_grad():
        return method.predict(audio, visual).probabilities


@pytest.mark.parametrize(("name", "options"), CASES)
def test_bf16_changes_scores_by_rounding(name, options):
    exact, rounded = scores(name, options, False), scores(name, options, True)
    for modality, value in exact.items():
        assert rounded[modality].dtype == torch.float32
        assert not torch.equal(rounded[modality], value), "bf16 had no effect"
        assert torch.allclose(rounded[modality], value, atol=0.05)


def test_a_linear_head_on_cached_tokens_is_left_alone():
    exact, rounded = scores("finetune", {}, False), scores("finetune", {}, True)
    assert all(torch.equal(rounded[modality], value) for modality, value in exact.items())


def test_weights_and_losses_stay_in_float32():
    layer = torch.nn.Linear(4, 4)
    with bf16_if(True, "cpu"):
        inside = layer(torch.randn(2, 4))
    outside = layer(torch.randn(2, 4))
    assert (inside.dtype, outside.dtype) == (torch.bfloat16, torch.float32)
    assert layer.weight.dtype == torch.float32
