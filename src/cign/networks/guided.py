"""The trunk with a fused head on audio-guided visual attention.

Source: Pian et al. 2023, AV-CIL; dimensions and order of operations are those of the authors'
code, the visual-only features and the norms are ours (docs/methods/av_cil.md).
Legend: B clips, K frames, P tokens of a frame, D width of visual tokens, E width of the features.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import Tensor, nn

from cign.layers.growing import GrowingLinear
from cign.networks.encoder import Encoder
from cign.networks.heads import HeadsNetwork, OnMap
from cign.vocabulary import MODALITIES


class GuidedOutput(NamedTuple):
    """Output of the network for a batch.

    Attributes:
        features: Features of each modality, shape [B, E]; the audio-visual ones are ``audio`` plus
            ``guided``.
        guided: Visual features of the tokens that audio attends to, shape [B, E].
        log_spatial: Logarithm of the attention over the tokens of each frame, shape [B, K, P, D]:
            each channel has its own.
        log_temporal: Logarithm of the attention over the frames, shape [B, K, D].
    """

    features: dict[str, Tensor]
    guided: Tensor
    log_spatial: Tensor
    log_temporal: Tensor


class GuidedNetwork(HeadsNetwork):
    """Three heads on projected features; the fused one sees visual tokens weighted by audio.

    Only the fused head takes guided features: the visual-only prediction must not depend on audio.

    Args:
        encoder: Encoder that provides the tokens of a batch.
        common_dim: E, the common width of audio and visual features; None uses D.
        **trunk: Further arguments of `HeadsNetwork`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        common_dim: int | None = None,
        **trunk: Any,
    ) -> None:
        super().__init__(encoder, **trunk)
        grid = encoder.shape.visual_grid
        # Without a grid all tokens of a clip count as one frame.
        self.frame_tokens = math.prod(grid) if grid else encoder.shape.num_visual_tokens
        audio_dim, visual_dim = self.dims["audio"], self.dims["visual"]
        common_dim = common_dim or visual_dim
        self.audio_attention = nn.Linear(audio_dim, visual_dim)
        self.visual_attention = nn.Linear(visual_dim, visual_dim)
        self.audio_projection = nn.Linear(audio_dim, common_dim)
        self.visual_projection = nn.Linear(visual_dim, common_dim)
        self.dims = dict.fromkeys(MODALITIES, common_dim)
        self.heads = nn.ModuleDict({name: GrowingLinear(common_dim) for name in MODALITIES})

    def read(self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None) -> GuidedOutput:
        """Features and attention of a batch.

        Args:
            audio: As in `Encoder`.
            visual: As in `Encoder`.
            on_map: As in `HeadsNetwork.tokens`.
        """
        audio_tokens, visual_tokens = self.tokens(audio, visual, on_map)
        pooled = self.pool(audio_tokens, visual_tokens)
        frames = visual_tokens.unflatten(1, (-1, self.frame_tokens))  # [B, K, P, D]
        log_spatial, log_temporal = self.attend(pooled["audio"], self.visual_norm(frames))
        of_frames = (log_spatial.exp() * frames).sum(dim=2)  # [B, K, D]
        attended = self.visual_norm((log_temporal.exp() * of_frames).sum(dim=1))
        features = {
            "audio": self.audio_projection(pooled["audio"]).relu(),
            "visual": self.visual_projection(pooled["visual"]).relu(),
        }
        guided = self.visual_projection(attended).relu()
        features["audio_visual"] = features["audio"] + guided
        return GuidedOutput(features, guided, log_spatial, log_temporal)

    def attend(self, audio: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the attention over the tokens of each frame and over the frames.

        Args:
            audio: Audio features, shape [B, D_a].
            frames: Visual tokens of each frame, shape [B, K, P, D].

        Returns:
            Shapes [B, K, P, D] and [B, K, D].
        """
        query = self.audio_attention(audio).tanh()  # [B, D]
        keys = self.visual_attention(frames).tanh()  # [B, K, P, D]
        log_spatial = (keys * query[:, None, None]).log_softmax(dim=2)
        of_frames = (log_spatial.exp() * keys).sum(dim=2)  # [B, K, D]
        log_temporal = (of_frames * query[:, None]).log_softmax(dim=1)
        return log_spatial, log_temporal

    def features(
        self, audio: Tensor, visual: Tensor, on_map: OnMap | None = None
    ) -> dict[str, Tensor]:
        """Features of each modality, shape [B, E]."""
        return self.read(audio, visual, on_map).features
