"""What some methods can do beyond learning and predicting, as protocols.

Code outside this package asks for a capability by the functions below and never for a method.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from cign.methods.base import Batch, Method


@runtime_checkable
class Updatable(Protocol):
    """A method that learns more classes, or forgets one, without its old clips."""

    def absorb(self, batch: Batch) -> None:
        """Add clips to the state."""

    def solve(self) -> None:
        """Compute the weights from the state.

        Raises:
            RunError: If they are not determined.
        """

    def remove_class(self, index: int) -> None:
        """Forget a class.

        Args:
            index: In the order in which the classes were taught.
        """


@runtime_checkable
class SumsOverClips(Protocol):
    """A method that holds the Gram matrix of the features that it puts into an `Output`."""

    def gram(self, modality: str) -> Tensor:
        """Sum of f f^T over the training clips, shape [W, W]; its lower triangle counts."""

    def ridge_of(self, modality: str) -> float:
        """What is added to its diagonal."""


@runtime_checkable
class ClassSums(SumsOverClips, Protocol):
    """A method that holds the sum of the features of each class's clips, and their number."""

    class_clips: Tensor
    """Training clips of each class, shape [C]."""

    def cross(self, modality: str) -> Tensor:
        """Sum of f y^T over the training clips, shape [W, C]."""


@runtime_checkable
class HasMaps(Protocol):
    """A method that assigns tokens to classes, see `Output.assignment`."""

    @property
    def has_maps(self) -> bool:
        """Whether it does so with its options."""


def updatable(method: Method) -> Updatable | None:
    """The method as one that can be updated; None if it cannot."""
    return method if isinstance(method, Updatable) else None


def is_updatable(cls: type[Method]) -> bool:
    """Whether methods of a class can be updated."""
    return issubclass(cls, Updatable)


def sums_over_clips(method: Method) -> SumsOverClips | None:
    """The method as one that holds Gram matrices; None if it has none."""
    return method if isinstance(method, SumsOverClips) else None


def class_sums(method: Method) -> ClassSums | None:
    """The method as one that holds sums for each class; None if it has none."""
    return method if isinstance(method, ClassSums) else None


def has_maps(method: Method) -> bool:
    """Whether predictions of the method say where and when each class was found."""
    return isinstance(method, HasMaps) and method.has_maps
