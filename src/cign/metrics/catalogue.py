"""The catalogue of all metrics of a run: groups of named metrics, each with its formula.

A group is a subclass of `MetricGroup` with `register_metrics`. ``cign metrics`` and the report show
every group of the modules of this package and of installed packages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from cign.errors import InputError
from cign.metrics.embedded import Embeddings
from cign.metrics.predictions import Predictions
from cign.utils.plugins import CONTRACT, Registry

Numbers = dict[str, dict[str, Any]]
# Key of metrics that belong to the whole run rather than to one modality.
RUN = "run"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The stored data of a run that metrics are computed from.

    Attributes:
        predictions: Scores of the run.
        costs: Costs as in ``metrics.json``.
        num_train: Number of training clips of each class; None if the run did not record them.
        total_train: Number of training clips of all tasks; None if the run did not record it.
        embeddings: Embeddings by its final model; None if it stored none.
        has_scores: Whether the predictions are scores rather than only the predicted class.
        joint: Predictions of ``joint`` on the same tasks, if available.
        stream: How the training clips arrived.
        curve: Evaluations of an online stream, as in ``metrics.json``; empty for other streams.
    """

    predictions: Predictions
    costs: Mapping[str, float | None] = field(default_factory=dict)
    num_train: Mapping[str, int] | None = None
    total_train: int | None = None
    embeddings: Embeddings | None = None
    has_scores: bool = True
    joint: Predictions | None = None
    stream: str = "tasks"
    curve: Sequence[Mapping[str, Any]] = ()


class MetricGroup(ABC):
    """A group of related metrics.

    Class attributes:
        title: Heading shown to users.
        definitions: The formula of each metric.
        decimals: Number of decimals to show, for metrics that do not show one.
        position: Groups are shown in increasing order of it, then by name.
    """

    title: ClassVar[str]
    definitions: ClassVar[Mapping[str, str]]
    decimals: ClassVar[Mapping[str, int]] = MappingProxyType({})
    position: ClassVar[int] = 100

    @staticmethod
    @abstractmethod
    def compute(stored: Stored) -> Numbers:
        """Compute the metrics.

        Returns:
            modality (or `RUN`) -> name -> value, with None for an undefined value; an empty
            dictionary if the run lacks the data. Accuracies and other shares are in percent.
        """


G = TypeVar("G", bound=type[MetricGroup])


def _check(what: str, part: Any) -> None:
    """Reject an object that is not a valid group of metrics.

    Raises:
        InputError: Names the fault.
    """
    if not (isinstance(part, type) and issubclass(part, MetricGroup)):
        raise InputError(
            "plugin-contract",
            f"{what} is not a group of metrics: make it a subclass of "
            "cign.metrics.catalogue.MetricGroup",
        )
    needed = ("title", "definitions")
    missing = [name for name in needed if not hasattr(part, name)]
    if missing := [*missing, *sorted(part.__abstractmethods__)]:
        raise InputError("plugin-contract", f"{what} does not define {', '.join(missing)}: add it")


METRICS: Registry[type[MetricGroup]] = Registry("metrics", "cign.metrics", _check, __package__)


def register_metrics(name: str, *, contract: int = CONTRACT) -> Callable[[G], G]:
    """Class decorator that registers a group of metrics under a name.

    Args:
        name: Name in ``cign metrics --json`` and for ``--groups``.
        contract: Version of the interface that the group implements.

    Raises:
        InputError: If the name is taken, the class is not a group, or the contract differs.
    """

    def register(cls: G) -> G:
        METRICS.register(name, cls, contract=contract)
        return cls

    return register


def metric_groups(names: Iterable[str] | None = None) -> dict[str, type[MetricGroup]]:
    """Groups of metrics by name, in the order in which they are shown.

    Args:
        names: Registered names, entry points or ``package.module:Name``; all groups if None.

    Raises:
        InputError: If there is no such group, or its module cannot be imported.
    """
    found = {name: METRICS.find(name) for name in (METRICS.names if names is None else names)}
    return dict(sorted(found.items(), key=lambda item: (item[1].position, item[0])))


def measure(stored: Stored, names: Iterable[str] | None = None) -> dict[str, Numbers]:
    """Metrics of a run: group -> modality -> name -> value.

    Args:
        stored: The stored data of the run.
        names: As in `metric_groups`.
    """
    return {name: group.compute(stored) for name, group in metric_groups(names).items()}
