"""Grouping in closed form: class tokens solved from sums over clips, without memory or forgetting.

The method is ours. From CIGN it takes a token per class and modality, features assigned to the
tokens, an embedding grouped by that assignment, and a probability for each modality. From analytic
continual learning (ACIL, RanPAC, MMAL) it takes sums over clips that give after every task the
same solution as all clips at once. docs/methods/cign_analytic.md has the derivation and states
which properties are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cign.errors import InputError, one_of
from cign.methods.adaptation import ADAPTATION
from cign.methods.base import Batch, Output, Setup
from cign.methods.closed_form import DTYPES, ClosedForm, ModalityRidge, with_columns, without_entry
from cign.methods.phases import TrainingOptions
from cign.methods.registry import register_method
from cign.networks.ridge import RandomFeatures
from cign.networks.token_ridge import TokenStatistics, assign_tokens, contrast, saliency
from cign.utils.options import check_positive, check_sizes, refuse_ignored
from cign.vocabulary import UNIMODAL

PRECISIONS = ("bfloat16", *DTYPES)
PIECE_BYTES = 2**24
"""Bytes of features computed at a time in training: they are read repeatedly from a cache."""


@dataclass(frozen=True, kw_only=True)
class CignAnalyticOptions:
    """Options of `cign_analytic`; all values are ours, tuned on datasets that no table uses.

    Attributes:
        width: W, random features of each token.
        audio_ridge: Ridge added to the diagonal of the audio Gram matrix.
        visual_ridge: The same for the visual Gram matrix.
        audio_contrast: Share of the clip mean subtracted from audio tokens, 0 to 1; see `contrast`.
        visual_contrast: The same for visual tokens.
        audio_saliency: Power of `saliency` for audio tokens; 0 weights all tokens equally.
        visual_saliency: The same for visual tokens.
        token_share: s of `TokenStatistics`: 0 fits only whole clips, 1 only single tokens.
        num_single: Number of tokens per clip that enter the sums singly, the most salient first.
        assignment: ``soft`` assigns tokens to classes by their scores; ``mean`` weights all tokens
            equally, in training too (for ablation).
        audio_temperature: tau of the assignment of audio tokens.
        visual_temperature: tau of the assignment of visual tokens.
        temperature: Divides the scores, which are about 0..1, before the soft-max.
        count_power: Scores of a class with n_i training clips are multiplied by
            (mean n / n_i)^power; 0 does not correct the low scores of rare classes.
        precision: Precision of products of features: ``bfloat16`` rounds the factors to bfloat16
            and accumulates in float32; the sums over clips and the solution are always in float64.
        projection_seed: Seed of the random projections; independent of the seed of the run.
        batch_size: Clips absorbed at a time.
        adaptation: How encoders are trained on the first task, end to end; see `Adaptation`.
    """

    width: int = 2000
    audio_ridge: float = 20.0
    visual_ridge: float = 20.0
    audio_contrast: float = 0.2
    visual_contrast: float = 0.5
    audio_saliency: float = 0.0
    visual_saliency: float = 2.0
    token_share: float = 0.2
    num_single: int = 12
    assignment: Literal["soft", "mean"] = "soft"
    audio_temperature: float = 0.3
    visual_temperature: float = 0.3
    temperature: float = 0.1
    count_power: float = 0.5
    precision: Literal["bfloat16", "float32", "float64"] = "bfloat16"
    projection_seed: int = 0
    batch_size: int = 256
    adaptation: TrainingOptions = ADAPTATION

    def __post_init__(self) -> None:
        """Reject invalid values and options that would be ignored."""
        least = dict.fromkeys(("width", "num_single", "batch_size"), 1)
        least |= dict.fromkeys(("audio_ridge", "visual_ridge", "projection_seed"), 0)
        check_sizes(self, least)
        if self.precision not in PRECISIONS:
            raise one_of(self.precision, PRECISIONS, "precision")
        if self.assignment not in ("soft", "mean"):
            raise one_of(self.assignment, ("soft", "mean"), "assignment")
        for name in ("token_share", "audio_contrast", "visual_contrast"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError("bad-value", f"{name} {getattr(self, name)} must be in [0, 1]")
        for name in ("audio_saliency", "visual_saliency", "count_power"):
            if getattr(self, name) < 0:
                raise InputError(
                    "bad-value", f"{name} {getattr(self, name)} is negative: use 0 or more"
                )
        check_positive(self, ("audio_temperature", "visual_temperature", "temperature"))
        if self.token_share == 0:
            refuse_ignored(self, ("num_single",), "token_share 0", "give token_share a value")
        if self.assignment == "mean":
            kinds = ("saliency", "temperature")
            names = [f"{modality}_{kind}" for kind in kinds for modality in UNIMODAL]
            refuse_ignored(self, names, "assignment mean", "use assignment soft")


@register_method("cign_analytic")
class CignAnalytic(ClosedForm):
    """Class tokens, assignment and grouped embeddings, all from sums over clips."""

    Options: ClassVar[type] = CignAnalyticOptions
    options: CignAnalyticOptions
    class_clips: Tensor

    def __init__(self, setup: Setup, options: CignAnalyticOptions) -> None:
        super().__init__(setup, options)
        dims = (setup.shape.audio_dim, setup.shape.visual_dim)
        # Sums are always float64, so that the order of the clips has no effect.
        self.audio, self.visual = (
            ModalityRidge(
                RandomFeatures(dim, options.width, seed=options.projection_seed, number=number),
                TokenStatistics(options.width, torch.float64),
            )
            for number, dim in enumerate(dims)
        )
        self.register_buffer("class_clips", torch.zeros(0, dtype=torch.float64))

    def ridge_of(self, modality: str) -> float:
        """See `ClosedForm`."""
        return self._option(modality, "ridge")

    def _option(self, modality: str, name: str) -> float:
        """The value of an option that exists for each modality."""
        return float(getattr(self.options, f"{modality}_{name}"))

    @property
    def has_maps(self) -> bool:
        """Whether the assignment localises classes; the mean over tokens does not."""
        return self.options.assignment == "soft"

    @property
    def state_bytes(self) -> int:
        """Bytes of the sums and counts."""
        return super().state_bytes + self.class_clips.numel() * self.class_clips.element_size()

    def grow(self, num_new: int) -> None:
        """Add columns and counts of zero."""
        self.class_clips = with_columns(self.class_clips, num_new)
        super().grow(num_new)

    def remove_class(self, index: int) -> None:
        """See `ClosedForm`; its count is removed too, which changes the count correction."""
        self.class_clips = without_entry(self.class_clips, index)
        super().remove_class(index)

    def shares(self, modality: str, tokens: Tensor) -> Tensor:
        """Saliency of a modality's tokens, shape [B, N]."""
        soft = self.options.assignment == "soft"
        return saliency(tokens, self._option(modality, "saliency") if soft else 0.0)

    def contrasted(self, modality: str, tokens: Tensor) -> Tensor:
        """Tokens of a modality minus the share of the clip mean that the options set."""
        return contrast(tokens, self._option(modality, "contrast"))

    def absorb(self, batch: Batch) -> None:
        """See `ClosedForm`."""
        o = self.options
        both = self.tokens(batch.audio, batch.visual)
        for modality, tokens in zip(UNIMODAL, both, strict=True):
            sums = self.of(modality).statistics
            assert isinstance(sums, TokenStatistics)
            sums.absorb_tokens(
                self._pieces(modality, tokens),
                batch.targets,
                o.token_share,
                o.num_single,
                rounding=o.precision == "bfloat16",
            )
        self.class_clips += batch.targets.sum(dim=0).to(self.class_clips)

    def _pieces(self, modality: str, tokens: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features and saliency of a modality's tokens, for as many clips as fit a cache."""
        o, random = self.options, self.of(modality).features
        features_of = random.rounding() if o.precision == "bfloat16" else random
        dtype = DTYPES.get(o.precision, torch.float32)
        size = max(1, PIECE_BYTES // (tokens.shape[1] * o.width * dtype.itemsize))
        for piece in tokens.split(size):
            contrasted = self.contrasted(modality, piece.to(dtype))
            yield features_of(contrasted), self.shares(modality, contrasted)

    def read_tokens(self, modality: str, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score each token for each class, assign the tokens, and pool their features.

        Args:
            modality: ``audio`` or ``visual``.
            tokens: Shape [B, N, D].

        Returns:
            Scores and assignment, each of shape [B, N, C], and the pooled features [B, W].
        """
        tokens = self.contrasted(modality, tokens.float())
        features = self.of(modality).features(tokens)
        scores = features @ self.class_tokens(modality)
        shares = self.shares(modality, tokens)
        pooled = (shares.unsqueeze(1) @ features).squeeze(1)
        if self.options.assignment == "mean":
            return scores, shares.unsqueeze(-1).expand_as(scores), pooled
        assigned = assign_tokens(scores, shares, self._option(modality, "temperature"))
        return scores, assigned, pooled

    def class_tokens(self, modality: str) -> Tensor:
        """The solved class tokens, shape [W, C], weighted by the counts."""
        weights = self.of(modality).weights
        counts = self.class_clips.clamp_min(1.0)
        balance = (counts.mean() / counts).pow(self.options.count_power)
        return weights * balance.to(weights)

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the grouped scores; sigmoids around 1/2 if clips have several labels.

        The score of class i is w_i . g_i with g_i = sum_n A[n,i] f_n, its grouped embedding. Each
        class's column of the assignment sums to one over the tokens; it does not tell how probable
        the class is.
        """
        return self._grouped(self.tokens(audio, visual))

    def _grouped(self, both: tuple[Tensor, Tensor]) -> Output:
        """The prediction from both modalities' tokens."""
        scores, assignment, features = {}, {}, {}
        for modality, tokens in zip(UNIMODAL, both, strict=True):
            of_tokens, assigned, pooled = self.read_tokens(modality, tokens)
            scores[modality] = (assigned * of_tokens).sum(dim=1)
            assignment[modality], features[modality] = assigned, pooled
        return self.output(scores, assignment=assignment, features=features)

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Tokens grouped by the predicted classes, shape [B, D_a + D_v].

        It is sum_i p_i sum_n A[n,i] x_n for each modality, x_n normalised; no true label is used.
        """
        parts = []
        both = self.tokens(audio, visual)
        output = self._grouped(both)
        for modality, tokens in zip(UNIMODAL, both, strict=True):
            p = output.probabilities[modality]
            share = (p / p.sum(dim=1, keepdim=True)).unsqueeze(-1)
            weight = output.assignment[modality] @ share  # [B, N, 1]
            x = nn.functional.layer_norm(tokens.float(), tokens.shape[2:])
            parts.append((weight * x).sum(dim=1))
        return torch.cat(parts, dim=1)
