"""Base of closed-form methods: one pass over a task's clips, sums over them, one solution.

A closed-form method adds each clip once to its sums and solves them after the task. Given its
settings, the solution equals that of all clips so far at once, up to rounding: ACIL (Zhuang et al.,
NeurIPS 2022), RanPAC (McDonnell et al., NeurIPS 2023). The settings are selected from the clips by
`cign.methods.selection`.

Legend: B clips, N tokens, C classes, D width of a token, W width of the random features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cign.methods.background import WithBackground
from cign.methods.base import Batch, Setup, TaskData
from cign.methods.clip_records import ClipRecords
from cign.methods.closed_form_options import ClosedFormOptions
from cign.methods.closed_form_output import output_from_scores
from cign.methods.leave_one_out import add_losses, clips_to_score, recorded
from cign.methods.left_out import ClipsToLeaveOut, LeftOutPredictions, Scoring
from cign.methods.loo_estimate import predictions_left_out
from cign.methods.modality_ridge import ModalityRidge
from cign.methods.one_pass import OnePass
from cign.methods.output import Output
from cign.methods.recorded_clips import ScoredLosses
from cign.methods.selection import balance
from cign.networks.ridge import solve_ridge
from cign.networks.token_ridge import TokenStatistics, assign_tokens, with_columns, without_entry
from cign.vocabulary import UNIMODAL


class ClosedForm(WithBackground, OnePass):
    """A method that stores sums over clips instead of clips.

    It satisfies the protocols `cign.methods.capabilities.Updatable` and ``SumsOverClips``.
    """

    Options: ClassVar[type] = ClosedFormOptions
    options: ClosedFormOptions
    sums_over_clips: ClassVar[frozenset[str]] = frozenset(
        {
            *("whole_gram", "whole_cross", "single_gram", "single_cross", "class_clips"),
            *("whole_background", "single_background", "background_clips"),
        }
    )
    supports_weights: ClassVar[bool] = True
    class_clips: Tensor

    def __init__(self, setup: Setup, options: Any) -> None:
        super().__init__(setup, options)
        dims = (setup.shape.audio_dim, setup.shape.visual_dim)
        settings = options.settings
        self.audio, self.visual = (
            ModalityRidge(dim, number, options, settings) for number, dim in enumerate(dims)
        )
        self.register_buffer("class_clips", torch.zeros(0, dtype=torch.float64))
        self.records = ClipRecords(settings.shape)
        self.register_load_state_dict_post_hook(_check_records)  # type: ignore[no-untyped-call]

    @classmethod
    def depends_on_order(cls, options: Any) -> bool:
        """See `Method`: the sums do not, but the selection of settings adds up losses by task."""
        return bool(options.settings.size > 1 and options.most_selecting > 0)

    @classmethod
    def least_weights(cls, options: Mapping[str, Any], shape: Mapping[str, Any]) -> tuple[str, int]:
        """See `Method`; the random projections alone have W x D values."""
        width, dim = options.get("width"), max(shape["audio_dim"], shape["visual_dim"])
        if not isinstance(width, int):
            return "", 0
        return f"width {width:.3g} at tokens of width {dim}", width * dim

    def of(self, modality: str) -> ModalityRidge:
        """The ridge regression of ``audio`` or ``visual``."""
        return self.audio if modality == "audio" else self.visual

    @property
    def has_maps(self) -> bool:
        """Whether both modalities assign tokens to classes."""
        return all(self.of(modality).setting.view.has_tokens for modality in UNIMODAL)

    @property
    def selected(self) -> dict[str, dict[str, Any]]:
        """The selected settings of each modality; empty if there was nothing to select from."""
        if self.options.settings.size == 1:
            return {}
        return {modality: self.of(modality).setting.to_dict() for modality in UNIMODAL}

    def ridge_of(self, modality: str) -> float:
        """The ridge strength of a modality's solution."""
        return self.of(modality).setting.ridge

    def gram(self, modality: str) -> Tensor:
        """The Gram matrix of a modality's features, shape [W, W]; use its lower triangle only.

        Without background, whose features are no sign that a clip is of a known class.
        """
        setting = self.of(modality).setting
        return self.of(modality).statistics_of(setting.view).gram(setting.token_share)

    def cross(self, modality: str) -> Tensor:
        """The cross-correlation of a modality's features and the labels, shape [W, C]."""
        setting = self.of(modality).setting
        return self.of(modality).statistics_of(setting.view).cross(setting.token_share)

    @property
    def state_bytes(self) -> int:
        """Bytes of the sums and counts, and of the records of clips."""
        sums = (module for module in self.modules() if isinstance(module, TokenStatistics))
        of_sums = sum(statistics.num_bytes for statistics in sums) + self.class_clips.nbytes
        return of_sums + self.records.num_bytes

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """See `Method`."""
        super().make_room(state)
        prefix = "records."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.records.make_room(own)

    def grow(self, num_new: int) -> None:
        """Add columns for the new classes, which are solved after the task."""
        for modality in UNIMODAL:
            self.of(modality).grow(num_new)
        self.class_clips = with_columns(self.class_clips, num_new)
        super().grow(num_new)

    def absorb(self, batch: Batch) -> None:
        """Add clips to the sums."""
        both = self.tokens(batch.audio, batch.visual)
        self.class_clips += batch.counted.sum(dim=0).to(self.class_clips)
        for labels, weights, rows in self.parts_of(batch):
            for modality, tokens in zip(UNIMODAL, both, strict=True):
                some = tokens if rows is None else tokens[rows]
                self.of(modality).absorb(some, labels, weights)

    def after_task(self, data: TaskData) -> None:
        """Select the settings with the task's clips, record the clips, and solve the sums."""
        scored = self.select(data)
        if data.identity is not None:
            self.records.add(data.identity(data.new), scored)
        self.solve()

    @torch.no_grad()
    def select(self, data: TaskData) -> ScoredLosses | None:
        """Add the losses of clips under the solutions without their sources, and choose.

        Returns:
            What to record of the clips; None if none was scored.
        """
        if self.adaptation is not None:
            if data.num_old == 0:
                return None  # encoders fit the clips that trained them better than new ones
            data = self.adaptation.encoding(data)
        clips = clips_to_score(data, self.options, self.setup.shape, self.class_clips)
        if clips is None:
            return None
        losses, tokens = {}, [self.tokens(batch.audio, batch.visual) for batch in clips.batches]
        for modality, parts in zip(UNIMODAL, zip(*tokens, strict=True), strict=True):
            one = self.of(modality)
            losses[modality] = add_losses(one, parts, clips, multi_label=self.setup.multi_label)
            if not one.fixed:
                one.choose()
        return recorded(clips, losses)

    @torch.no_grad()
    def solve(self) -> None:
        """Solve both ridge regressions; if one is singular, no solution is replaced.

        Raises:
            RunError: If a system is singular.
        """
        solved = [
            solve_ridge(
                self.of(modality).fitted_gram,
                self.cross(modality),
                self.ridge_of(modality),
                f"modality {modality}",
            )
            for modality in UNIMODAL
        ]
        for modality, solution in zip(UNIMODAL, solved, strict=True):
            one = self.of(modality)
            # Row-major like a loaded tensor: products round differently with another layout.
            one.weights = solution.to(one.weights).contiguous()

    before_scoring = solve

    def predict_left_out(
        self, clips: ClipsToLeaveOut, score: Scoring | None = None
    ) -> LeftOutPredictions:
        """Predict clips that were learned by the solutions without their sources."""
        return predictions_left_out(self, clips, score)

    def remove_class(self, index: int) -> None:
        """Remove the columns of a class; its clips stay in the Gram matrices.

        Each column of a ridge solution is independent of the others, so the columns of the other
        classes stay bit-exact.

        Args:
            index: Index of the class in the order of learning.
        """
        for modality in UNIMODAL:
            self.of(modality).remove(index)
        self.class_clips = without_entry(self.class_clips, index)
        self.records.remove_class(index)
        self.forget_column(index)

    def class_tokens(self, modality: str) -> Tensor:
        """The solved class tokens, shape [W, C], weighted by the counts."""
        one = self.of(modality)
        return one.weights * balance(self.class_clips, one.setting.count_power).to(one.weights)

    def predict(self, audio: Tensor, visual: Tensor) -> Output:
        """Soft-max of the clips' scores; sigmoids around 1/2 if clips have several labels.

        The score of class i is w_i . g_i with g_i = sum_n A[n,i] f_n, its grouped embedding. Each
        class's column of the assignment sums to one over the tokens; it does not tell how probable
        the class is.
        """
        return self._grouped(self.tokens(audio, visual))

    def _grouped(self, both: tuple[Tensor, Tensor]) -> Output:
        """The prediction from both modalities' tokens."""
        clip_scores, assignment, features = {}, {}, {}
        for modality, tokens in zip(UNIMODAL, both, strict=True):
            setting = self.of(modality).setting
            scores, assigned, pooled = self.read_tokens(modality, tokens)
            clip_scores[modality] = (assigned * scores).sum(dim=1)
            features[modality] = pooled
            if setting.view.has_tokens:
                assignment[modality] = assigned
        settings = {modality: self.of(modality).setting for modality in UNIMODAL}
        return replace(
            output_from_scores(clip_scores, settings, multi_label=self.setup.multi_label),
            assignment=assignment if len(assignment) == len(UNIMODAL) else {},
            features=features,
        )

    def read_tokens(self, modality: str, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score each vector for each class, assign the vectors, and pool their features.

        Args:
            modality: ``audio`` or ``visual``.
            tokens: Shape [B, N, D].

        Returns:
            Scores and assignment, each of shape [B, N', C], and the pooled features [B, W].
        """
        one, tokens = self.of(modality), tokens.float()
        setting = one.setting
        features = one.projection(setting.view)(setting.view.vectors(tokens))
        shares = setting.view.shares(tokens)
        scores = features @ self.class_tokens(modality)
        pooled = (shares.unsqueeze(1) @ features).squeeze(1)
        if math.isinf(setting.assignment_temperature):
            return scores, shares.unsqueeze(-1).expand_as(scores), pooled
        return scores, assign_tokens(scores, shares, setting.assignment_temperature), pooled

    def embed(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Tokens grouped by the predicted classes, shape [B, D_a + D_v].

        It is sum_i p_i sum_n A[n,i] x_n for each modality, x_n normalised; no true label is used.
        Without an assignment it is their mean.
        """
        parts, both = [], self.tokens(audio, visual)
        output = self._grouped(both)
        for modality, tokens in zip(UNIMODAL, both, strict=True):
            x = nn.functional.layer_norm(tokens.float(), tokens.shape[2:])
            if modality not in output.assignment:
                parts.append(x.mean(dim=1))
                continue
            p = output.probabilities[modality]
            share = (p / p.sum(dim=1, keepdim=True)).unsqueeze(-1)
            weight = output.assignment[modality] @ share  # [B, N, 1]
            parts.append((weight * x).sum(dim=1))
        return torch.cat(parts, dim=1)


def _check_records(method: ClosedForm, _: object) -> None:
    """Refuse records that were loaded and do not fit."""
    method.records.check(method.num_classes)
