"""Gather the labelled segments of recordings into a listing of clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cign.data.clips import Clip, Ignored, check_times, clip_id
from cign.data.formats.label_tools.recordings import Recording, Recordings
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.errors import InputError
from cign.utils.file_text import escape_name
from cign.utils.wording import listed

NO_LABEL = "without a label"
POINT = "of zero length"
_MAX_NAMED = 3

_Key = tuple[str, float | None, float | None]


class Place(NamedTuple):
    """A place in a label file, for messages.

    Attributes:
        file: The label file.
        entry: The entry in it, such as ``line 3``.
    """

    file: Path
    entry: str

    def __str__(self) -> str:
        return f"{self.file} {self.entry}"


class Segments:
    """Segments of recordings as clips, with the entries that were ignored.

    Args:
        source: The label file, or the folder of label files.
        media: Media folders, absolute; the folder of the source if empty.
    """

    def __init__(self, source: Path, media: Sequence[Path]) -> None:
        self._base = source if source.is_dir() else source.parent
        self.recordings = Recordings(source, media)
        self._labels: dict[_Key, dict[str, None]] = {}
        self._path_of: dict[str, Path] = {}
        self._by: dict[_Key, tuple[object, frozenset[str], Place]] = {}
        self._ignored: list[tuple[Place, str]] = []
        self._num_repeated = 0

    def add(
        self,
        recording: Recording,
        start_s: float | None,
        end_s: float | None,
        labels: Iterable[object],
        where: Place,
        *,
        annotator: object = None,
    ) -> None:
        """Add a segment; one without a label or of zero length is ignored and counted.

        Segments with the same times are one clip with all their labels.

        Args:
            recording: The recording.
            start_s: Start in seconds; the start of the recording if absent.
            end_s: End in seconds; the end of the recording if absent.
            labels: Class names as the tool wrote them.
            where: The place, for messages.
            annotator: Who added it; two annotators must give a segment the same labels.

        Raises:
            InputError: If times or names are invalid, or two annotators contradict each other.
        """
        given = [label for label in labels if str(label).strip()]
        if not given:
            self.ignore(where, NO_LABEL)
            return
        if start_s is not None and start_s == end_s:
            self.ignore(where, POINT)
            return
        check_times(start_s, end_s, str(where))
        start_s, end_s = (None if x is None else x + 0.0 for x in (start_s, end_s))
        names = dict.fromkeys(listed_label(label, str(where)) for label in given)
        key = (recording.id, start_s, end_s)
        if annotator is not None:
            self._compare(key, annotator, frozenset(names), where)
        known = self._labels.setdefault(key, {})
        self._num_repeated += all(name in known for name in names)
        known.update(names)
        self._path_of[recording.id] = recording.path

    def _compare(self, key: _Key, annotator: object, names: frozenset[str], where: Place) -> None:
        first, labels, place = self._by.setdefault(key, (annotator, frozenset(), where))
        if first == annotator:
            self._by[key] = (first, labels | names, place)
        elif not names <= labels:
            raise InputError(
                "bad-list",
                f"{where}: annotators disagree on the same part of {key[0]} "
                f"({listed(sorted(labels))} in {place.entry}, here {listed(sorted(names))}): "
                "delete one of the annotations, or mark the right one as ground truth",
            )

    def ignore(self, where: Place, reason: str) -> None:
        """Record an entry that is not a segment, such as a point."""
        self._ignored.append((where, reason))

    def entry_of(self, where: Place) -> str:
        """Return a place, written like the ids of clips."""
        file = where.file
        name = file.relative_to(self._base) if file.is_relative_to(self._base) else file
        return f"{escape_name(name.as_posix())} {where.entry}".strip()

    def listing(self, notes: Sequence[str] = ()) -> Listing:
        """Return the clips in the order of the label files; their splits are made by recording.

        Args:
            notes: Further notes.

        Raises:
            InputError: If there is no segment.
        """
        reasons = dict.fromkeys(reason for _, reason in self._ignored)
        for reason in reasons:
            places = [self.entry_of(where) for where, why in self._ignored if why == reason]
            what = "entry was" if len(places) == 1 else "entries were"
            named = listed(places, _MAX_NAMED)
            notes = (*notes, f"{len(places)} {what} ignored, {reason}: {named}")
        if self._num_repeated:
            what = "entry repeats" if self._num_repeated == 1 else "entries repeat"
            notes = (*notes, f"{self._num_repeated} {what} a segment and its label")
        if not self._labels:
            why = f" ({'; '.join(notes)})" if notes else ""
            raise InputError(
                "no-clips", f"{self._base} contains no labelled segment{why}: label some first"
            )
        clips = [
            Clip(
                id=clip_id(name, start_s, end_s),
                path=self._path_of[name],
                labels=tuple(labels),
                split="train",
                start_s=start_s,
                end_s=end_s,
                source=name,
            )
            for (name, start_s, end_s), labels in self._labels.items()
        ]
        return Listing(
            clips=tuple(clips),
            alphabetical=True,
            notes=(*notes, *self.recordings.notes()),
            has_splits=False,
            ignored=tuple(Ignored(self.entry_of(where), why) for where, why in self._ignored),
        )
