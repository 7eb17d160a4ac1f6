"""Base of prompt methods: frozen blocks, queries, heads trained only on the task's classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from cign.backbones.blocks import TokenBlocks
from cign.errors import InputError
from cign.layers.growing import GrowingLinear
from cign.layers.precision import bf16_if
from cign.losses.classification import own_task_loss
from cign.losses.prompts import key_loss
from cign.methods.base import Batch, GradientMethod, Losses, Setup
from cign.methods.output import Output, output_from_logits
from cign.methods.phases import Phase
from cign.vocabulary import MODALITIES


class PromptMethod(GradientMethod):
    """A frozen transformer for each modality, prompts that enter it, and three linear heads.

    Each modality has its own prompts, keys and head; the fused head takes the features of both. No
    clip of an earlier task is used.
    """

    uses_memory: ClassVar[bool] = False
    needs_blocks: ClassVar[bool] = True
    regimes: ClassVar[tuple[str, ...]] = ("frozen",)
    refused_streams: ClassVar[Mapping[str, str]] = {
        "blurry": "it trains the outputs of a task's new classes only, and the stream also has "
        "clips of old ones: use --stream tasks, or another method, for example finetune",
    }

    def __init__(self, setup: Setup, options: object) -> None:
        super().__init__(setup, options)
        if setup.blocks is None:
            raise InputError(
                "unsupported",
                f"method {self.name} needs a backbone with transformer blocks that prompts can "
                "enter: use --backbone small-stem",
            )
        self.blocks = setup.blocks.frozen()
        audio_dim, visual_dim = self.blocks.audio.width, self.blocks.visual.width
        dims = {
            "audio": audio_dim,
            "visual": visual_dim,
            "audio_visual": audio_dim + visual_dim,
        }
        self.heads = nn.ModuleDict(
            {modality: GrowingLinear(dims[modality]) for modality in MODALITIES}
        )

    def head(self, modality: str) -> GrowingLinear:
        """The head of a modality."""
        head = self.heads[modality]
        assert isinstance(head, GrowingLinear)
        return head

    def transformer(self, modality: str) -> TokenBlocks:
        """The frozen transformer of a modality."""
        return self.blocks.audio if modality == "audio" else self.blocks.visual

    def grow(self, num_new: int) -> None:
        """Add outputs and freeze those of old classes."""
        for modality in MODALITIES:
            self.head(modality).grow(num_new)
            self.head(modality).freeze_old()
        super().grow(num_new)

    @abstractmethod
    def read(self, modality: str, tokens: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Pass tokens through the prompted transformer.

        Args:
            modality: ``audio`` or ``visual``.
            tokens: Stem tokens, shape [B, K * N, D].
            query: Mean token of each clip without prompts, shape [B, D].

        Returns:
            Features, shape [B, D], and the keys that were used, [B, N, D].
        """

    @torch.no_grad()
    def query(self, modality: str, tokens: Tensor) -> Tensor:
        """The mean token of the frozen transformer without prompts, shape [B, D]."""
        return self.transformer(modality)(tokens).flatten(1, 2).mean(dim=1)

    def features(self, audio: Tensor, visual: Tensor) -> tuple[dict[str, Tensor], Losses]:
        """Features of each modality and the unweighted key losses of audio and visual tokens."""
        features, losses = {}, {}
        for modality, stem_tokens in (("audio", audio), ("visual", visual)):
            tokens = stem_tokens.float()
            with bf16_if(self.setup.bf16, tokens.device.type):
                query = self.query(modality, tokens).float()
                feature, keys = self.read(modality, tokens, query)
            # Normalised without a learned scale, like the features of heads in other methods.
            features[modality] = nn.functional.layer_norm(feature.float(), feature.shape[1:])
            losses[f"{modality}_keys"] = key_loss(query, keys)
        features["audio_visual"] = torch.cat([features["audio"], features["visual"]], dim=-1)
        return features, losses

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Losses of the three heads over the task's classes, and the key losses.

        Excluding the outputs of old classes is equivalent to masking their logits with minus
        infinity. Otherwise they would be suppressed, because only new classes have clips.
        """
        features, losses = self.features(batch.audio, batch.visual)
        losses = {name: self.options.key_weight * value for name, value in losses.items()}
        num_new = self.class_counts[-1]
        for modality in MODALITIES:
            losses[modality] = own_task_loss(
                self.head(modality).newest(features[modality]),
                batch.targets[:, -num_new:],
                [num_new],
                multi_label=self.setup.multi_label,
            )
        return losses

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max over all classes seen; sigmoids if clips have several labels."""
        features, _ = self.features(audio, visual)
        logits = {modality: self.head(modality)(features[modality]) for modality in MODALITIES}
        return output_from_logits(logits, multi_label=self.setup.multi_label)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """The fused head's features, shape [B, D_a + D_v]."""
        return self.features(audio, visual)[0]["audio_visual"]
