"""The result of a reader of a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cign.data.clips import Clip, Ignored


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Clips as a source lists them, before they are checked as a whole.

    Attributes:
        clips: The clips in the order of the source, with the source's splits.
        alphabetical: Whether class order 0 is alphabetical, not by first appearance.
        class_order: Class order 0, if the source states one.
        notes: Ignored entries and irregularities, one sentence each.
        has_splits: Whether the splits are the source's own; if not, corrected splits are made.
        true_labels: Correct labels by clip id, for clips whose label in the source is known to be
            wrong.
        ambiguous: Ids of clips that the corrected splits leave out, because the source gives
            the same recording two classes.
        keep_test: Whether the corrected splits preserve the test clips, and remove training clips
            of the same recordings.
        ignored: Files and folders of the source that are not clips.
    """

    clips: tuple[Clip, ...]
    alphabetical: bool = False
    class_order: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    has_splits: bool = True
    true_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ambiguous: frozenset[str] = frozenset()
    keep_test: bool = False
    ignored: tuple[Ignored, ...] = ()
