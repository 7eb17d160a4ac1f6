"""CIGN as published: class tokens that grow task by task, grouping, token distillation.

Class-Incremental Grouping Network for Continual Audio-Visual Learning, Mo, Pian, Tian, ICCV 2023.
docs/methods/cign.md lists what comes from the paper, MGN or the release, and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cign.errors import InputError, one_of
from cign.losses.classification import masked_binary_cross_entropy, negatives_mask
from cign.losses.tokens import token_classification_loss, token_distillation_loss
from cign.methods.base import Batch, GradientMethod, Losses, Setup
from cign.methods.old_outputs import OldOutputs, Outputs
from cign.methods.options import MethodOptions
from cign.methods.output import Output
from cign.methods.phases import Phase, TrainingOptions
from cign.methods.registry import register_method
from cign.networks.cign_network import CignNetwork, added_by_grouping
from cign.networks.encoder import Encoder
from cign.networks.grouping import Assignment
from cign.networks.training_state import Teacher, TrainingState
from cign.utils.options import refuse_ignored

TokenDistillation = Literal["raw", "transformed", "none"]


@dataclass(frozen=True, kw_only=True)
class CignOptions(MethodOptions):
    """Options of `cign`; the defaults are the settings of the release.

    Attributes:
        training: Optimizer and schedule. Adam 1e-4 constant, 20 epochs [release]; batch 32 and at
            least 1,000 steps per task (ours).
        width: D; None uses that of the visual tokens, at most 512.
        depth: Blocks of each modality's transformer.
        num_heads: Heads of its attention.
        mlp_ratio: Inner width of the MLPs over D.
        drop_path: Stochastic depth rate.
        assignment: ``soft`` or ``hard``.
        pool_audio: Whether to max-pool the audio tokens to one. [release]
        grouping: False compares the class tokens with the mean feature instead (ours, for
            ablation).
        token_mixing: Whether to use the release's MLP across the token axis; how it grows is ours.
        old_tokens: ``trainable``, so that distillation constrains them (paper), or ``frozen``
            (release).
        token_distillation: KL(old, current) on the head outputs of the ``raw`` tokens (closest to
            the paper) or of the ``transformed`` tokens of each clip, or ``none`` (release). The
            form is ours.
        distillation_weight: Weight of the token distillation; 1 (ours).
        negatives: Whether ``all`` classes or only the ``new`` ones enter the loss of a clip of
            a new class.
    """

    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(
            num_epochs=20, min_steps=1000, batch_size=32, learning_rate=1e-4
        )
    )
    width: int | None = None
    depth: int = 3
    num_heads: int = 8
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    assignment: Assignment = "soft"
    pool_audio: bool = True
    grouping: bool = True
    token_mixing: bool = False
    old_tokens: Literal["trainable", "frozen"] = "trainable"
    token_distillation: TokenDistillation = "raw"
    distillation_weight: float = 1.0
    negatives: Literal["all", "new"] = "all"

    def __post_init__(self) -> None:
        """Reject a weight of a distillation that is off."""
        if self.token_distillation == "none":
            remedy = "choose raw or transformed"
            refuse_ignored(self, ("distillation_weight",), "token_distillation none", remedy)


class OldTokens(TrainingState):
    """Outputs of the token head on the old tokens before the task, shape [C_old, C_old]."""

    logits: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(0, 0))

    def clear(self) -> None:
        """See `TrainingState`."""
        self.logits = None


@register_method("cign")
class Cign(GradientMethod):
    """The class-incremental grouping network."""

    Options: ClassVar[type] = CignOptions
    options: CignOptions

    def __init__(self, setup: Setup, options: CignOptions) -> None:
        super().__init__(setup, options)
        for value, allowed, what in (
            (options.old_tokens, ("trainable", "frozen"), "old_tokens"),
            (options.token_distillation, ("raw", "transformed", "none"), "token_distillation"),
            (options.negatives, ("all", "new"), "negatives"),
        ):
            if value not in allowed:
                raise one_of(value, allowed, what)
        if not options.grouping and (options.token_mixing or options.assignment != "soft"):
            raise InputError(
                "conflicting-options",
                "without grouping nothing is assigned and no token is mixed: leave assignment and "
                "token_mixing at their defaults, or set grouping to true",
            )
        self.network = CignNetwork(
            Encoder(setup.shape, setup.backbone, bf16=setup.bf16),
            width=options.width,
            depth=options.depth,
            num_heads=options.num_heads,
            mlp_ratio=options.mlp_ratio,
            drop_path=options.drop_path,
            assignment=options.assignment,
            pool_audio=options.pool_audio,
            grouping=options.grouping,
            token_mixing=options.token_mixing,
        )
        self.teacher = Teacher[CignNetwork]()
        self.old_outputs = OldOutputs(self, self.teacher, self._old_transformed)
        self.old_tokens = OldTokens()

    def grow(self, num_new: int) -> None:
        """Save the old outputs or network that distillation needs, then add the classes."""
        num_old = self.num_classes
        if num_old and self.options.token_distillation == "raw":
            self.old_tokens.logits = self.network.token_logits().detach().clone()
        if num_old and self.options.token_distillation == "transformed":
            self.teacher.keep(self.network)
        self.network.grow(num_new)
        if self.options.old_tokens == "frozen":
            self.network.tokens.freeze_old()
        super().grow(num_new)

    def learn(self, batch: Batch, phase: Phase) -> Losses | None:
        """Losses: token classification, token distillation, grouping of both modalities."""
        num_old = self.num_classes - self.class_counts[-1]
        output = self.network(batch.audio, batch.visual)
        token_logits = self.network.token_logits()
        of_old = batch.of_old_classes(num_old)
        mask = negatives_mask(of_old, num_old, self.num_classes, self.options.negatives)
        losses = {"tokens": token_classification_loss(token_logits)}
        for name, modality in (("audio", output.audio), ("visual", output.visual)):
            losses[name] = masked_binary_cross_entropy(modality.logits, batch.targets, mask)
        if num_old and self.options.token_distillation == "raw":
            assert self.old_tokens.logits is not None
            distance = token_distillation_loss(self.old_tokens.logits, token_logits[:num_old])
            losses["distillation"] = self.options.distillation_weight * distance
        if num_old and self.options.token_distillation == "transformed":
            losses["distillation"] = self.options.distillation_weight * self._transformed(
                batch, output.audio.transformed, output.visual.transformed, num_old
            )
        return losses

    def _transformed(self, batch: Batch, audio: Tensor, visual: Tensor, num_old: int) -> Tensor:
        """Distillation on the transformed tokens of each clip, mean over the two modalities."""
        old = self.old_outputs.of(batch)
        distances = [
            token_distillation_loss(old[modality], self.network.token_head(now[:, :num_old]))
            for modality, now in (("audio", audio), ("visual", visual))
        ]
        return torch.stack(distances).mean()

    def _old_transformed(self, batch: Batch) -> Outputs:
        """The teacher's outputs for the transformed tokens of each modality."""
        teacher = self.teacher.frozen
        output = teacher(batch.audio, batch.visual)
        return {
            "audio": teacher.token_head(output.audio.transformed),
            "visual": teacher.token_head(output.visual.transformed),
        }

    @property
    def has_maps(self) -> bool:
        """Whether features are assigned to class tokens."""
        return self.options.grouping

    def whole_batch_reason(self, *, keeps_clips: bool) -> str:
        """See `Method`."""
        if keeps_clips and self.options.negatives == "new":
            return "with negatives new, old and new clips count for unequal numbers of classes"
        return super().whole_batch_reason(keeps_clips=keeps_clips)

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """p_i of each modality, and their product [release]."""
        output = self.network(audio, visual)
        audio_p, visual_p = output.audio.logits.sigmoid(), output.visual.logits.sigmoid()
        probabilities = {"audio": audio_p, "visual": visual_p, "audio_visual": audio_p * visual_p}
        assignment = {}
        if self.options.grouping:
            assignment = {
                "audio": output.audio.grouped.assignment,
                "visual": output.visual.grouped.assignment,
            }
        return Output(probabilities=probabilities, assignment=assignment)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Change of the class tokens by grouping, weighted by the predictions, shape [B, 2 D].

        It is sum_i p_i (g_i - c^_i) for each modality; no true label is used.
        """
        output = self.network(audio, visual)
        return added_by_grouping(output, [part.logits.sigmoid() for part in output])


@register_method("cign_tuned")
class CignTuned(Cign):
    """The same network, with options tuned like those of all baselines (`cign_tuned.yaml`)."""
