"""The readout of tokens against its formulas in plain numpy."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from cign.networks.encoder import Encoder, TokenShape
from cign.networks.token_readout import TokenReadout, TokenReadouts

B, N, D, W, C = 3, 5, 7, 11, 4


@pytest.fixture
def readout():
    torch.manual_seed(0)
    made = TokenReadout(D, W, 0.3)
    made.grow(C - 1)
    made.grow(1)
    for chunk in made.tokens.chunks:
        torch.nn.init.normal_(chunk)
    return made.double()


def test_scores_and_assignment_are_the_formulas(readout):
    x = torch.randn(B, N, D, dtype=torch.float64)
    scores, assigned = readout(x)
    weights = {key: value.numpy() for key, value in readout.state_dict().items()}
    tokens = np.concatenate([weights["tokens.chunks.0"], weights["tokens.chunks.1"]])
    values = x.numpy()
    normed = values - values.mean(-1, keepdims=True)
    normed /= np.sqrt(values.var(-1, keepdims=True) + 1e-5)
    inner = np.maximum(normed @ weights["inner.weight"].T + weights["inner.bias"], 0)
    single = 8 / np.sqrt(W) * np.einsum("bnw,cw->bnc", inner, tokens)
    share = softmax(single / 0.3, axis=1)
    np.testing.assert_allclose(assigned.detach(), share, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores.detach(), (share * single).sum(1), rtol=1e-4, atol=1e-5)


def test_where_the_evidence_is_one_token_the_assignment_is_there(readout):
    with torch.no_grad():
        readout.sharpness.fill_(1e4)
    x = torch.randn(B, N, D, dtype=torch.float64)
    scores, assigned = readout(x)
    assert assigned.amax(dim=1).min() > 0.999
    single = torch.stack([readout(x[:, n : n + 1])[0] for n in range(N)], dim=1)
    torch.testing.assert_close(scores, single.amax(dim=1), rtol=1e-3, atol=1e-4)


def test_sound_and_picture_do_not_touch_each_other():
    shape = TokenShape(audio_dim=D, visual_dim=D, num_audio_tokens=N, num_visual_tokens=N)
    network = TokenReadouts(Encoder(shape), width=W, temperature=0.3)
    network.grow(C)
    for modality in (network.audio, network.visual):
        torch.nn.init.normal_(modality.tokens.chunks[0])
    audio, visual, other = torch.randn(3, B, N, D)
    first, second = network(audio, visual), network(audio, other)
    assert torch.equal(first["audio"], second["audio"])
    assert not torch.equal(first["visual"], second["visual"])
    torch.testing.assert_close(first["audio_visual"], first["audio"] + first["visual"])
