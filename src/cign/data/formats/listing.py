"""What a reader of a source gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cign.data.clips import Clip, Ignored


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Clips as a source lists them, before they are checked as a whole.

    Attributes:
        clips: In the order of the source, with the splits that it gives them.
        alphabetical: Whether order 0 of the classes is alphabetical, not by first appearance.
        class_order: Order 0 of the classes where the source states one.
        notes: What was ignored or is odd, one sentence each.
        has_splits: Whether the splits are the source's own; if not, the corrected ones are made.
        true_labels: Labels by clip id where the source's own are known to be wrong.
        ambiguous: Ids of clips that the corrected splits leave out, because the source gives
            the same recording two classes.
        keep_test: Whether the corrected splits keep the test clips and take from the training
            clips those of the same recordings.
        ignored: Each file or folder of the source that is no clip.
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
