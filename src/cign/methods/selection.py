"""Selection of the settings of a closed-form method from the clips themselves.

Each setting of a modality is scored by the log-loss of clips under the solution that never saw any
clip of their source (`cign.networks.leave_out`). The scores of a task's clips are added to those of
earlier tasks, so that no clip has to be stored. docs/methods/cign_analytic.md states what depends
on the order of the tasks. All of it is ours.

Legend: B clips, N tokens, C classes seen, K settings.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as binary_cross_entropy

from cign.networks.leave_out import LeftOut, sets_by_source
from cign.networks.token_ridge import assign_tokens
from cign.networks.views import View, describe


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a modality.

    Attributes:
        view: Which vectors of a clip are classified.
        token_share: s of `cign.networks.token_ridge.TokenStatistics`.
        ridge: Ridge strength.
        assignment_temperature: tau of the assignment; infinity weights tokens by saliency alone.
        temperature: Divides the scores before the soft-max.
        count_power: Scores of a class with n_i training clips are multiplied by
            (mean n / n_i)^power.
    """

    view: View
    token_share: float
    ridge: float
    assignment_temperature: float
    temperature: float
    count_power: float

    def to_dict(self) -> dict[str, Any]:
        """The values that have an effect, by the names of the options."""
        values = describe(self.view)
        if self.view.has_tokens:
            tau = self.assignment_temperature
            values["token_share"] = self.token_share
            values["assignment_temperature"] = None if math.isinf(tau) else tau
        return values | {
            "ridge": self.ridge,
            "temperature": self.temperature,
            "count_power": self.count_power,
        }


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings to choose from: the product of the values of each option.

    The first of all is the default, which is used until clips prove another one better. Where no
    clip can be left out, as with one clip per class, it is the default with the plainest view.
    """

    views: tuple[View, ...]
    token_shares: tuple[float, ...]
    ridges: tuple[float, ...]
    assignment_temperatures: tuple[float, ...]
    temperatures: tuple[float, ...]
    count_powers: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of values, in the order of the attributes."""
        return (
            len(self.views),
            len(self.token_shares),
            len(self.ridges),
            len(self.assignment_temperatures),
            len(self.temperatures),
            len(self.count_powers),
        )

    @property
    def size(self) -> int:
        """K, with settings that are repeated because an option has no effect on a view."""
        return math.prod(self.shape)

    def __getitem__(self, number: int) -> Setting:
        view, share, ridge, tau, temperature, power = map(int, np.unravel_index(number, self.shape))
        return Setting(
            view=self.views[view],
            token_share=self.token_shares[share] if self.views[view].has_tokens else 0.0,
            ridge=self.ridges[ridge],
            assignment_temperature=self.assignment_temperatures[tau]
            if self.views[view].has_tokens
            else math.inf,
            temperature=self.temperatures[temperature],
            count_power=self.count_powers[power],
        )

    def number_of(self, setting: Setting) -> int:
        """Number of a setting; of those that are equal because an option has no effect, the first.

        Raises:
            ValueError: If it is not one of these settings.
        """
        has_tokens = setting.view.has_tokens
        at = (
            self.views.index(setting.view),
            self.token_shares.index(setting.token_share) if has_tokens else 0,
            self.ridges.index(setting.ridge),
            self.assignment_temperatures.index(setting.assignment_temperature) if has_tokens else 0,
            self.temperatures.index(setting.temperature),
            self.count_powers.index(setting.count_power),
        )
        return int(np.ravel_multi_index(at, self.shape))

    @property
    def plainest(self) -> int:
        """Number of the default with the view of the least contrast, then of the least saliency."""
        views = self.views
        alike = [
            number
            for number, view in enumerate(views)
            if (view.pooling, view.normalisation) == (views[0].pooling, views[0].normalisation)
        ]
        best = min(alike, key=lambda number: (views[number].contrast, views[number].saliency))
        return best * math.prod(self.shape[1:])

    def without_losses(self) -> Tensor:
        """Tallies of zeros; infinity for settings that repeat another one.

        An option without an effect on a view has one value there (`shares_of`, `taus_of`).
        """
        tallies = torch.zeros(self.shape, dtype=torch.float64)
        for number, view in enumerate(self.views):
            tallies[number, len(self.shares_of(view)) :] = math.inf
            tallies[number, :, :, len(self.taus_of(view)) :] = math.inf
        return tallies

    def shares_of(self, view: View) -> tuple[float, ...]:
        """The token shares that make a difference for a view."""
        return self.token_shares if view.has_tokens else (0.0,)

    def taus_of(self, view: View) -> tuple[float, ...]:
        """The assignment temperatures that make a difference for a view."""
        return self.assignment_temperatures if view.has_tokens else (math.inf,)


def pooled_scores(scores: Tensor, shares: Tensor, tau: float) -> Tensor:
    """Scores of clips from scores of tokens, [B, N, C] and [B, N] to [B, C]."""
    if math.isinf(tau):
        return (shares.unsqueeze(1) @ scores).squeeze(1)
    return (assign_tokens(scores, shares, tau) * scores).sum(dim=1)


def balance(counts: Tensor, power: float) -> Tensor:
    """Factors of the scores of each class, (mean n / n_i)^power, for counts [..., C]."""
    counts = counts.clamp_min(1.0)
    return (counts.mean(dim=-1, keepdim=True) / counts).pow(power)


def balance_of_groups(counts: Tensor, in_group: Tensor, power: float) -> Tensor:
    """Factors like `balance`, for the classes in a group and for the others separately, [C]."""
    factors = torch.empty_like(counts)
    for some in (in_group, in_group.logical_not()):
        if bool(some.any()):
            factors[some] = balance(counts[some], power)
    return factors


def losses_of_settings(
    scores: Tensor,
    shares: Tensor,
    targets: Tensor,
    class_clips: Tensor,
    of_task: Tensor,
    settings: Settings,
    view: View,
    *,
    multi_label: bool,
) -> Tensor:
    """The losses of clips for all temperatures and powers, given the scores of tokens.

    The balance differs from that of a prediction in two ways, without which the highest power
    would be selected for no good reason (docs/decisions/0032-selected-settings.md). It counts all
    clips of each class, also the left-out ones: otherwise a clip's own class would always be one
    with too few clips. And it is relative to the mean of the task's classes, or of the earlier
    ones: no clip of an earlier class is scored, so that nothing would speak against preferring the
    new classes.

    Args:
        scores: Scores of tokens without the clip's sources, shape [B, N, C].
        shares: u_n, shape [B, N].
        targets: Multi-hot labels, or what is fitted in their place, shape [B, C].
        class_clips: Clips of each class in all tasks, shape [C].
        of_task: Which classes have clips in the task, shape [C].
        settings: The settings.
        view: The view that the scores belong to.
        multi_label: Whether clips may have several labels.

    Returns:
        Shape [taus, temperatures, powers, B].
    """
    found = scores.new_empty(
        len(settings.taus_of(view)),
        len(settings.temperatures),
        len(settings.count_powers),
        len(scores),
    )
    for k, power in enumerate(settings.count_powers):
        # As in prediction, which assigns tokens by balanced scores.
        balanced = scores * balance_of_groups(class_clips, of_task, power).to(scores)
        for i, tau in enumerate(settings.taus_of(view)):
            clip_scores = pooled_scores(balanced, shares, tau)
            for j, temperature in enumerate(settings.temperatures):
                found[i, j, k] = clip_losses(
                    clip_scores, targets, temperature, multi_label=multi_label
                )
    return found


def clip_losses(
    scores: Tensor, targets: Tensor, temperature: float, *, multi_label: bool
) -> Tensor:
    """Log-loss of each clip, shape [B]: of its label, or the mean over classes of sigmoids."""
    if multi_label:
        logits = (scores - 0.5) / temperature
        return binary_cross_entropy(logits, targets.to(logits), reduction="none").mean(dim=-1)
    logarithms = (scores / temperature).log_softmax(dim=-1)
    return -(logarithms * targets.to(logarithms)).sum(dim=-1)


def chosen_clips(
    classes: Sequence[int], sources: Sequence[tuple[str, ...]], most: int, large: float
) -> list[LeftOut]:
    """What to score and to leave out: all clips, or about ``most`` of them, evenly over classes.

    The choice depends on the names of the sources, not on the order of the clips.

    Args:
        classes: Class of each clip.
        sources: Sources of each clip.
        most: Number of clips to read, and of clips to leave out one by one, counted as often as
            they are left out.
        large: See `sets_by_source`.
    """
    sets = sets_by_source(sources, large)
    if len(classes) <= most and sum(len(one.without) for one in sets) <= most:
        return sets
    by_class: dict[int, list[LeftOut]] = {}
    for one in sorted(sets, key=lambda one: _mark(sources[one.scored[0]])):
        by_class.setdefault(classes[one.scored[0]], []).append(one)
    in_turns: Iterable[LeftOut] = (
        one for turn in zip_longest(*by_class.values()) for one in turn if one is not None
    )
    chosen: list[LeftOut] = []
    read: set[int] = set()
    left_out = 0
    for one in in_turns:
        more = read | set(one.clips)
        left_out += len(one.without)
        if max(len(more), left_out) > most and chosen:
            break
        chosen.append(one)
        read = more
    return chosen


def _mark(sources: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()
