"""Class tokens that score every token of a clip, and the assignment that pools the scores.

All of it is ours: what `cign.networks.token_ridge` solves in closed form, in a form that gradients
train, encoders included.

Legend: B clips, N tokens, D width of a token, W inner width, C classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cign.layers.growing import ClassTokens
from cign.layers.precision import bf16_if
from cign.networks.encoder import Encoder

# Inner features have this root mean square norm, whatever their width: a learning rate fits all.
_NORM = 8.0


class TokenReadout(nn.Module):
    """Scores of one modality: h_n = ReLU(W LN(x_n) + b), s_ni = h_n . c_i, z_i = sum_n A[n,i] s_ni.

    A[n,i] = exp(s_ni / tau) / sum_n of the same is the share that token n has in the evidence for
    class i; tau is learned.

    Args:
        dim: D.
        width: W.
        temperature: tau at the start.
    """

    def __init__(self, dim: int, width: int, temperature: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        # Drawn as the closed forms draw their random features.
        self.inner = nn.Linear(dim, width)
        nn.init.normal_(self.inner.weight, std=dim**-0.5)
        nn.init.normal_(self.inner.bias)
        self.tokens = ClassTokens(width)
        self.sharpness = nn.Parameter(torch.tensor(1.0 / temperature))

    def grow(self, num_new: int) -> None:
        """Add the class tokens of ``num_new`` classes; they start at zero, as in `cign`."""
        self.tokens.grow(num_new)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Read a modality's tokens.

        Args:
            x: Shape [B, N, D].

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
    """Encoder and a `TokenReadout` of each modality; the fused score is a weighted sum.

    Args:
        encoder: Gives the tokens of a batch.
        width: W.
        temperature: tau at the start.
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
        """Scores and assignment of each modality; arguments as `Encoder` takes them."""
        return self.read_tokens(*self.encoder(audio, visual))

    def read_tokens(self, heard: Tensor, seen: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """The same from the encoder's tokens, shapes [B, N_a, D_a] and [B, N_v, D_v]."""
        with bf16_if(self.encoder.bf16, heard.device.type):
            return self.audio(heard), self.visual(seen)

    def fuse(self, heard: Tensor, seen: Tensor) -> dict[str, Tensor]:
        """Scores of all readings from those of the modalities, shape [B, C] each."""
        fused = self.weights[0] * heard + self.weights[1] * seen
        return {"audio": heard, "visual": seen, "audio_visual": fused}

    def forward(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Scores of each reading, shape [B, C]; arguments as `Encoder` takes them."""
        (heard, _), (seen, _) = self.read(audio, visual)
        return self.fuse(heard, seen)
