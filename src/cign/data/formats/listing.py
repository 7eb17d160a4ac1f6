"""What a reader of a source gives back."""

from __future__ import annotations

from dataclasses import dataclass

from cign.data.clips import Clip


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Clips as a source lists them, before they are checked as a whole.

    Attributes:
        clips: In the order of the source.
        alphabetical: Whether order 0 of the classes is alphabetical, not by first appearance.
        notes: What was ignored, one sentence each.
    """

    clips: tuple[Clip, ...]
    alphabetical: bool = False
    notes: tuple[str, ...] = ()
