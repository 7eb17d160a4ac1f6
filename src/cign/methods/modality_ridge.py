"""Ridge regression of one modality, with the sums of all views to select from."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cign.errors import InputError
from cign.methods.closed_form_options import DTYPES, ClosedFormOptions
from cign.methods.selection import Setting, Settings
from cign.networks.ridge import RandomFeatures
from cign.networks.token_ridge import TokenStatistics, with_columns, without_entry
from cign.networks.views import View
from cign.vocabulary import UNIMODAL

PIECE_BYTES = 2**24
"""Bytes of features computed at a time in training: they are read repeatedly from a cache."""


class ModalityRidge(nn.Module):
    """Ridge regression of one modality: sums over clips for each view, and one solution.

    Args:
        dim: D.
        number: Number of the modality, which distinguishes its random projections.
        options: Options of the method.
        settings: The settings to choose from.

    Attributes:
        losses: Sum of the losses of each setting, shape `Settings.shape`; infinite where a setting
            repeats another one.
        squares: Sum over sources of the squared difference of their losses from those under the
            default setting; same shape.
        evidence: Number of classes in these sums, each counted in every task that measured it.
        chosen: Number of the selected setting.
        setting: The selected setting, because an exported program cannot depend on a number in a
            tensor.
        fixed: Whether it was set by hand: later clips do not change it.
    """

    weights: Tensor
    losses: Tensor
    squares: Tensor
    evidence: Tensor
    chosen: Tensor

    def __init__(
        self, dim: int, number: int, options: ClosedFormOptions, settings: Settings
    ) -> None:
        super().__init__()
        self.options, self.settings = options, settings
        dims = {"tokens": (dim, number), "statistics": (3 * dim, number + len(UNIMODAL))}
        self.projections = nn.ModuleDict(
            {
                name: RandomFeatures(
                    dims[name][0],
                    options.width,
                    seed=options.projection_seed,
                    number=dims[name][1],
                )
                for name in dict.fromkeys(view.projection for view in settings.views)
            }
        )
        singles = any(settings.token_shares)
        self.statistics = nn.ModuleList(
            TokenStatistics(options.width, options.num_single if singles and view.has_tokens else 0)
            for view in settings.views
        )
        self.register_buffer("weights", torch.zeros(options.width, 0))
        self.register_buffer("losses", settings.without_losses())
        self.register_buffer("squares", settings.without_losses())
        self.register_buffer("evidence", torch.zeros((), dtype=torch.float64))
        self.register_buffer("chosen", torch.tensor(settings.plainest))
        self.setting: Setting = settings[settings.plainest]
        self.fixed = False
        self.register_load_state_dict_post_hook(_use_loaded)  # type: ignore[no-untyped-call]

    def projection(self, view: View) -> RandomFeatures:
        """The random features of a view."""
        features = self.projections[view.projection]
        assert isinstance(features, RandomFeatures)
        return features

    def statistics_of(self, view: View) -> TokenStatistics:
        """The sums of a view."""
        sums = self.statistics[self.settings.views.index(view)]
        assert isinstance(sums, TokenStatistics)
        return sums

    def grow(self, num_new: int) -> None:
        """Add columns of zeros; the next solution fills them for the new classes."""
        for view in self.settings.views:
            self.statistics_of(view).grow(num_new)
        self.weights = with_columns(self.weights, num_new)

    def remove(self, index: int) -> None:
        """Remove the columns of a class; its clips stay in the Gram matrices."""
        for view in self.settings.views:
            self.statistics_of(view).remove(index)
        self.weights = without_entry(self.weights, index)

    @property
    def rounding(self) -> bool:
        """Whether factors of products are rounded to bfloat16."""
        return self.options.precision == "bfloat16"

    @property
    def fitted_gram(self) -> Tensor:
        """G + G_b of the selected setting, shape [W, W]; use its lower triangle only."""
        return self.statistics_of(self.setting.view).fitted_gram(self.setting.token_share)

    def make_background(self) -> None:
        """Make room for sums over background clips."""
        for view in self.settings.views:
            self.statistics_of(view).make_background()

    def absorb(self, tokens: Tensor, targets: Tensor | None, weights: Tensor | None = None) -> None:
        """Add clips to the sums of all views.

        Args:
            tokens: Shape [B, N, D].
            targets: Labels or their shares, shape [B, C]; None for background.
            weights: Weights of the clips, shape [B]; None if all are 1.
        """
        for view in self.settings.views:
            pieces = self.pieces(view, tokens)
            self.statistics_of(view).absorb(
                pieces, targets, weights=weights, rounding=self.rounding
            )

    def pieces(self, view: View, tokens: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and shares of a view, for as many clips as fit a cache.

        Args:
            view: The view.
            tokens: Shape [B, N, D].

        Yields:
            Shapes [b, N', W] and [b, N']. The next features may overwrite them.
        """
        random = self.projection(view)
        features_of = random.rounding() if self.rounding else random
        dtype = DTYPES.get(self.options.precision, torch.float32)
        size = max(1, PIECE_BYTES // (tokens.shape[1] * self.options.width * dtype.itemsize))
        for piece in tokens.split(size):
            piece = piece.to(dtype)
            yield features_of(view.vectors(piece)), view.shares(piece)

    def choose(self) -> None:
        """Select the setting that is better than the default by the most, in a cautious estimate.

        The estimate is the difference of the losses from those of the default plus ``caution``
        standard errors of that difference. So the default is kept until clips show another setting
        to be better; with many clips the lowest loss is selected. Without evidence it is
        `Settings.plainest`.
        """
        if float(self.evidence) == 0:
            self.use(self.settings.plainest)
            return
        default = self.losses.flatten()[0]
        if torch.isinf(default):  # the default's system is singular
            estimates, tolerance = self.losses, 1e-9 * self.losses.amin()
        else:
            # Both tallies are infinite for the same settings; 0 times infinity is not a number.
            errors = torch.where(self.squares.isfinite(), self.squares.sqrt(), 0.0)
            estimates = self.losses - default + self.options.caution * errors
            tolerance = 1e-9 * default
        estimates = estimates.flatten()
        # Settings that cannot be distinguished: the one listed first.
        first = (estimates <= estimates.amin() + tolerance).to(torch.uint8).argmax()
        self.use(int(first))

    def extend(self, options: ClosedFormOptions) -> None:
        """Use options that list the same views, and perhaps further values of other settings.

        No clip was measured with a further value: its tallies are infinite.

        Args:
            options: The options; each list of values begins with those used before.
        """
        settings, old = options.settings, self.settings
        assert settings.views == old.views
        known = tuple(slice(number) for number in old.shape)
        for name in ("losses", "squares"):
            before = getattr(self, name)
            tallies = before.new_full(settings.shape, torch.inf)
            tallies[known] = before
            setattr(self, name, tallies)
        self.options, self.settings = options, settings
        self.use(settings.number_of(self.setting))

    def use(self, number: int) -> None:
        """Use a setting by its number."""
        self.chosen = torch.full_like(self.chosen, number)
        self.setting = self.settings[number]


def _use_loaded(one: ModalityRidge, _: object) -> None:
    """Use the setting whose number was loaded."""
    if not 0 <= int(one.chosen) < one.settings.size:
        raise InputError(
            "damaged",
            f"the weights choose setting {int(one.chosen)} of {one.settings.size}: restore or "
            "recreate them",
        )
    one.use(int(one.chosen))
