"""The trunk with a fused head that reads pictures where the sound points.

Source: Pian et al. 2023, AV-CIL, after the paper's description. The fused head alone reads guided
features: the visual reading must not depend on sound.
Legend: B clips, N visual tokens, D width, E width of the common space.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork, OnMap, Trunk


class GuidedOutput(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        features: Of each reading, shapes [B, D], [B, D], [B, 2 D].
        log_attention: Logarithm of the attention over the visual tokens, shape [B, N].
        audio: Audio features in the common space, shape [B, E].
        visual: Guided visual features in the common space, shape [B, E].
    """

    features: dict[str, Tensor]
    log_attention: Tensor
    audio: Tensor
    visual: Tensor


class GuidedNetwork(HeadsNetwork):
    """Three heads, the fused one on the mean of the visual tokens weighted by the sound.

    Args:
        encoder: Gives the tokens of a batch.
        trunk: As in `HeadsNetwork`.
        width: As in `HeadsNetwork`.
        depth: As in `HeadsNetwork`.
        num_heads: As in `HeadsNetwork`.
        drop_path: As in `HeadsNetwork`.
        common_dim: E; None takes the width of the visual features.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        trunk: Trunk = "linear",
        width: int | None = None,
        depth: int = 2,
        num_heads: int = 8,
        drop_path: float = 0.1,
        common_dim: int | None = None,
    ) -> None:
        super().__init__(
            encoder,
            trunk=trunk,
            width=width,
            depth=depth,
            num_heads=num_heads,
            drop_path=drop_path,
        )
        common_dim = common_dim or self.dims["visual"]
        # Without bias: one on the audio side would give every clip the same attention.
        self.audio_projection = nn.Linear(self.dims["audio"], common_dim, bias=False)
        self.visual_projection = nn.Linear(self.dims["visual"], common_dim, bias=False)

    def read(self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None) -> GuidedOutput:
        """Features, attention and the common space of a batch.

        One soft-max over all visual tokens of a clip, frames included; the paper's is over places
        and then over time. Division by sqrt(E) keeps it soft at the start. Both are ours.

        Args:
            audio: As in `Encoder`.
            visual: As in `Encoder`.
            on_map: As in `HeadsNetwork.tokens`.
        """
        audio_tokens, visual_tokens = self.tokens(audio, visual, on_map)
        features = self.pool(audio_tokens, visual_tokens)
        heard = self.audio_projection(features["audio"])  # [B, E]
        places = self.visual_projection(self.visual_norm(visual_tokens))  # [B, N, E]
        scores = torch.einsum("be,bne->bn", heard.tanh(), places.tanh())
        log_attention = (scores / math.sqrt(heard.shape[-1])).log_softmax(dim=1)
        guided = torch.einsum("bn,bnd->bd", log_attention.exp(), visual_tokens)
        guided = self.visual_norm(guided)
        features["audio_visual"] = torch.cat([features["audio"], guided], dim=-1)
        return GuidedOutput(features, log_attention, heard, self.visual_projection(guided))

    def features(
        self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None
    ) -> dict[str, Tensor]:
        """Features of each reading, shapes [B, D], [B, D] and [B, 2 D]."""
        return self.read(audio, visual, on_map).features
