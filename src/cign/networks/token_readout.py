"""Class tokens that score every token of a clip, and the assignment that pools the scores.

All of it is ours. It is the version of `cign.networks.token_ridge` that is trained by gradient
descent, encoders included.

Legend: B clips, N tokens, D width of a token, W inner width, C classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cign.layers.growing import ClassTokens
from cign.layers.precision import bf16_if
from cign.networks.encoder import Encoder

# Root mean square norm of inner features for any width, so that one learning rate suits all.
_NORM = 8.0


class TokenReadout(nn.Module):
    """Scores of one modality: h_n = ReLU(W LN(x_n) + b), s_ni = h_n . c_i, z_i = sum_n A[n,i] s_ni.

    A[n,i] = exp(s_ni / tau) / sum_n exp(s_ni / tau) is the weight of token n in the score of
    class i; tau is learned.

    Args:
        dim: D.
        width: W.
        temperature: Initial value of tau.
    """

    def __init__(self, dim: int, width: int, temperature: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        # Initialised like the random features of the closed-form methods.
        self.inner = nn.Linear(dim, width)
        nn.init.normal_(self.inner.weight, std=dim**-0.5)
        nn.init.normal_(self.inner.bias)
        self.tokens = ClassTokens(width)
        self.sharpness = nn.Parameter(torch.tensor(1.0 / temperature))

    def grow(self, num_new: int) -> None:
        """Add the class tokens of ``num_new`` classes; they start at zero, as in `cign`."""
        self.tokens.grow(num_new)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score and assign the tokens of a modality.

        Args:
            x: Tokens, shape [B, N, D].

        Returns:
            Scores of the clips z, shape [B, C], float32, and the assignment A, shape [B, N, C],
            which sums to one over the tokens.
        """
        inner = self.inner(self.norm(x)).relu()
        tokens = self.tokens() * (_NORM / math.sqrt(self.tokens.width))
        scores = (inner @ tokens.T).float()
        assigned = (scores * self.sharpness).softmax(dim=1)
        return (assigned * scores).sum(dim=1), assigned


class TokenReadouts(nn.Module):
    """An encoder and a `TokenReadout` of each modality; the fused score is a weighted sum.

    Args:
        encoder: Encoder that provides the tokens of a batch.
        width: W.
        temperature: Initial value of tau.
    """

    def __init__(self, encoder: Encoder, *, width: int, temperature: float) -> None:
        super().__init__()
        self.encoder = encoder
        shape = encoder.shape
        self.audio = TokenReadout(shape.audio_dim, width, temperature)
        self.visual = TokenReadout(shape.visual_dim, width, temperature)
        self.weights = nn.Parameter(torch.ones(2))

    def grow(self, num_new: int) -> None:
        """Add classes to both modalities."""
        self.audio.grow(num_new)
        self.visual.grow(num_new)

    def read(self, audio: Tensor, visual: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Scores and assignment of each modality; arguments as in `Encoder`."""
        return self.read_tokens(*self.encoder(audio, visual))

    def read_tokens(self, audio: Tensor, visual: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """The same as `read` from encoded tokens, shapes [B, N_a, D_a] and [B, N_v, D_v]."""
        with bf16_if(self.encoder.bf16, audio.device.type):
            return self.audio(audio), self.visual(visual)

    def fuse(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Add the audio-visual scores to the audio and visual scores, shape [B, C] each."""
        fused = self.weights[0] * audio + self.weights[1] * visual
        return {"audio": audio, "visual": visual, "audio_visual": fused}

    def forward(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Scores of each modality, shape [B, C]; arguments as in `Encoder`."""
        (audio_scores, _), (visual_scores, _) = self.read(audio, visual)
        return self.fuse(audio_scores, visual_scores)
