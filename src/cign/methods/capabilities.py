"""Optional capabilities of methods beyond learning and predicting, as protocols.

Code outside this package tests for a capability with the functions below, never for a method.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from cign.methods.base import Batch, Method
from cign.methods.left_out import ClipsToLeaveOut, LeftOutPredictions, Scoring, SumsOfViews
from cign.utils.wording import value_text
from cign.vocabulary import UNIMODAL


@runtime_checkable
class Updatable(Protocol):
    """A method that can add or remove classes without its old clips."""

    def tokens(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of a batch.

        All methods of this class take them in place of the media, if they contain encoders.

        Args:
            audio: Audio tokens [B, N_a, D_a], or samples [B, L] if the method contains encoders.
            visual: Visual tokens [B, N_v, D_v], or frames [B, K, S, S, 3].
        """

    def absorb(self, batch: Batch) -> None:
        """Add a batch of clips to the state."""

    def solve(self) -> None:
        """Compute the weights from the state.

        Raises:
            RunError: If the state does not determine them.
        """

    def remove_class(self, index: int) -> None:
        """Remove a class.

        Args:
            index: Index of the class in the order of learning.
        """


@runtime_checkable
class SumsOverClips(Protocol):
    """A method that stores the Gram matrix of the features in its `Output`."""

    def gram(self, modality: str) -> Tensor:
        """Sum of f f^T over the training clips, shape [W, W]; use its lower triangle only."""

    def ridge_of(self, modality: str) -> float:
        """The ridge strength, which is added to the diagonal of the Gram matrix."""


@runtime_checkable
class HasMaps(Protocol):
    """A method that assigns tokens to classes, see `Output.assignment`."""

    @property
    def has_maps(self) -> bool:
        """Whether it does so with its current options."""


@runtime_checkable
class SelectsSettings(Protocol):
    """A method that selects settings from the clips it learns."""

    @property
    def selected(self) -> dict[str, dict[str, Any]]:
        """Names and values of the settings of each modality."""


@runtime_checkable
class LeavesOut(Protocol):
    """A method that predicts its training clips as if it had never learned their sources."""

    class_clips: Tensor
    """Number of learned clips of each class, shape [C]."""

    def predict_left_out(
        self, clips: ClipsToLeaveOut, score: Scoring | None = None
    ) -> LeftOutPredictions:
        """Predict learned clips by the solutions without their sources.

        Args:
            clips: The clips.
            score: Scores pieces of the clips in the caller's way, for example on a cluster; None
                leaves it to the method.
        """


def leaves_out(method: Method) -> LeavesOut | None:
    """The method if it can predict clips as if it had not learned them, else None.

    It cannot do so for the clips of the first task if these trained its encoders.
    """
    return method if isinstance(method, LeavesOut) else None


def updatable(method: Method) -> Updatable | None:
    """The method if it can be updated, else None."""
    return method if isinstance(method, Updatable) else None


def is_updatable(cls: type[Method]) -> bool:
    """Whether methods of this class can be updated."""
    return issubclass(cls, Updatable)


def sums_over_clips(method: Method) -> SumsOverClips | None:
    """The method if it stores Gram matrices, else None."""
    return method if isinstance(method, SumsOverClips) else None


def stores_sums(cls: type[Method]) -> bool:
    """Whether methods of this class store Gram matrices."""
    return issubclass(cls, SumsOverClips)


def sums_of_views(method: Method) -> SumsOfViews | None:
    """The method if its sums can be added and solved again (`cign.methods.sums`), else None."""
    return method if isinstance(method, SumsOfViews) else None


def num_background(method: Method) -> float:
    """Number of background clips that the method learned, each counted by its weight."""
    sums = sums_of_views(method)
    return 0.0 if sums is None else sums.num_background


def has_maps(method: Method) -> bool:
    """Whether predictions of the method localise each class in space and time."""
    return isinstance(method, HasMaps) and method.has_maps


def selected_settings(method: Method) -> dict[str, dict[str, Any]]:
    """The settings that the method selected from its clips, by modality; empty if none."""
    return method.selected if isinstance(method, SelectsSettings) else {}


def fixed_settings(method: Method) -> tuple[str, ...]:
    """The modalities whose settings were set by hand, so that later clips do not change them."""
    sums = sums_of_views(method)
    return () if sums is None else tuple(m for m in UNIMODAL if sums.of(m).fixed)


def fix_settings(method: Method, modalities: Iterable[str]) -> None:
    """Keep the current settings of some modalities, see `fixed_settings`."""
    sums = sums_of_views(method)
    for modality in modalities if sums is not None else ():
        assert sums is not None
        sums.of(modality).fixed = True


def selection_in_words(method: Method) -> str:
    """The selected settings in one line, for example ``audio pooling mean, ridge 20; visual ...``.

    Empty if the method selected none.
    """
    return "; ".join(
        f"{modality} "
        + ", ".join(f"{name} {value_text(value)}" for name, value in settings.items())
        for modality, settings in selected_settings(method).items()
    )
