"""The search for the options of a method: one option at a time, within a number of trials.

The search moves along one option after the other, to the next lower and higher value of a numerical
one and to every other value of another one, and goes on in a direction as long as the score rises.
It ends when no single step improves the score, so that values below and above every chosen number
were tried, or when the trials are used up; then `open_steps` tells what was not tried.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cign.tuning.bases import BASE

Point = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Space:
    """The options that a search varies.

    Attributes:
        axes: Values of each option, in the order in which options are varied; numbers ascend.
        start: Where the search begins: a value of every option.
        implied: By base, the values that other options have in it; a step to a base sets them.
        allows: Whether a point is valid; others are no steps.
    """

    axes: Mapping[str, Sequence[Any]]
    start: Point
    implied: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allows: Callable[[Point], bool] = lambda point: True

    def steps(self, point: Point, name: str) -> Iterator[list[Point]]:
        """Points to try along an option: in each direction, as long as the score rises."""
        values = list(self.axes[name])
        at = values.index(point[name])
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            directions = [values[at + 1 :], values[:at][::-1]]
        else:
            directions = [[value] for value in values if value != point[name]]
        for direction in directions:
            moved = (self.moved(point, name, value) for value in direction)
            yield [one for one in moved if self.allows(one)]

    def moved(self, point: Point, name: str, value: Any) -> Point:
        """A point with another value of an option."""
        implied = self.implied.get(value, {}) if name == BASE else {}
        return {**point, name: value, **implied}


@dataclass(kw_only=True)
class Search:
    """A search and its trials so far.

    Attributes:
        space: What is varied.
        score: Returns the score of a point; higher is better.
        budget: Most trials.
        scores: Score of each trial, by `key`, in the order of the trials.
    """

    space: Space
    score: Callable[[Point], float]
    budget: int
    scores: dict[str, float] = field(default_factory=dict)

    def run(self) -> Point:
        """Search; returns the best point."""
        best = self.space.start
        self._try(best)
        improved = True
        while improved:
            improved = False
            for name in self.space.axes:
                for direction in self.space.steps(best, name):
                    for point in direction:
                        if not self._try(point):
                            break
                        if self.scores[key(point)] <= self.scores[key(best)]:
                            break
                        best, improved = point, True
        return best

    def open_steps(self, best: Point) -> list[str]:
        """Options of the best point of which a neighbouring value was not tried."""
        return [
            name
            for name in self.space.axes
            if any(
                direction and key(direction[0]) not in self.scores
                for direction in self.space.steps(best, name)
            )
        ]

    def _try(self, point: Point) -> bool:
        """Score a point, unless it is known; False if the trials are used up."""
        if key(point) not in self.scores:
            if len(self.scores) == self.budget:
                return False
            self.scores[key(point)] = self.score(point)
        return True


def key(point: Point) -> str:
    """A name for a point."""
    return json.dumps(point, sort_keys=True)
