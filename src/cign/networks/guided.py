"""The trunk with a fused head on audio-guided visual attention.

Source: Pian et al. 2023, AV-CIL, from the description in the paper. Only the fused head takes
guided features: the visual-only prediction must not depend on audio.
Legend: B clips, N visual tokens, D width, E width of the common space.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork, OnMap


class GuidedOutput(NamedTuple):
    """Output of the network for a batch.

    Attributes:
        features: Features of each modality, shapes [B, D], [B, D], [B, 2 D].
        log_attention: Logarithm of the attention over the visual tokens, shape [B, N].
        audio: Audio features in the common space, shape [B, E].
        visual: Guided visual features in the common space, shape [B, E].
    """

    features: dict[str, Tensor]
    log_attention: Tensor
    audio: Tensor
    visual: Tensor


class GuidedNetwork(HeadsNetwork):
    """Three heads; the fused one takes the mean of visual tokens weighted by audio attention.

    Args:
        encoder: Encoder that provides the tokens of a batch.
        common_dim: E; None uses the width of the visual features.
        **trunk: Further arguments of `HeadsNetwork`.
    """

    def __init__(self, encoder: Encoder, *, common_dim: int | None = None, **trunk: Any) -> None:
        super().__init__(encoder, **trunk)
        common_dim = common_dim or self.dims["visual"]
        # Without bias: an audio bias would add the same attention to every clip.
        self.audio_projection = nn.Linear(self.dims["audio"], common_dim, bias=False)
        self.visual_projection = nn.Linear(self.dims["visual"], common_dim, bias=False)

    def read(self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None) -> GuidedOutput:
        """Features, attention and common-space features of a batch.

        The attention is one soft-max over all visual tokens of all frames of a clip; in the paper
        it is spatial and then temporal. Division by sqrt(E) makes it soft initially. Both are ours.

        Args:
            audio: As in `Encoder`.
            visual: As in `Encoder`.
            on_map: As in `HeadsNetwork.tokens`.
        """
        audio_tokens, visual_tokens = self.tokens(audio, visual, on_map)
        features = self.pool(audio_tokens, visual_tokens)
        audio_common = self.audio_projection(features["audio"])  # [B, E]
        visual_common = self.visual_projection(self.visual_norm(visual_tokens))  # [B, N, E]
        scores = torch.einsum("be,bne->bn", audio_common.tanh(), visual_common.tanh())
        log_attention = (scores / math.sqrt(audio_common.shape[-1])).log_softmax(dim=1)
        guided = torch.einsum("bn,bnd->bd", log_attention.exp(), visual_tokens)
        guided = self.visual_norm(guided)
        features["audio_visual"] = torch.cat([features["audio"], guided], dim=-1)
        guided_common = self.visual_projection(guided)
        return GuidedOutput(features, log_attention, audio_common, guided_common)

    def features(
        self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None
    ) -> dict[str, Tensor]:
        """Features of each modality, shapes [B, D], [B, D] and [B, 2 D]."""
        return self.read(audio, visual, on_map).features
