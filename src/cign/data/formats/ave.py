"""Reader of AVE: ten-second clips, each with one audio-visual event (Tian et al. 2018)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cign.data.clips import Clip
from cign.data.formats.ids import check_video, folder_of, read_lines
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import WHOLE_FILE, MediaFinder, Name
from cign.data.formats.registry import register_format
from cign.errors import InputError

ANNOTATIONS = "Annotations.txt"
SPLIT_LISTS = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}
_HEADER = "category&videoid&"


@register_format("ave", files=(ANNOTATIONS, SPLIT_LISTS["train"]))
def read_ave(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read the three split files, or ``Annotations.txt`` alone, which has no splits.

    Each line is one clip, as published. A recording that several lines list with different
    classes (for example banjo and mandolin) gives several clips here; the corrected splits leave
    them out, since their class is ambiguous.

    Args:
        source: The folder of the lists, or ``Annotations.txt``.
        media: Folders with the clips; the folder of the lists if empty.

    Raises:
        InputError: If the lists are missing or have other contents.
    """
    folder = folder_of(source)
    lists = {s: folder / n for s, n in SPLIT_LISTS.items() if (folder / n).is_file()}
    has_splits = source.is_dir() and len(lists) == len(SPLIT_LISTS)
    if source.is_dir() and lists and not has_splits:
        missing = next(name for split, name in SPLIT_LISTS.items() if split not in lists)
        raise InputError(
            "file-missing",
            f"folder {source} lacks {missing}: add it, or remove the other split files",
        )
    if not has_splits:
        path = source if source.is_file() else folder / ANNOTATIONS
        if not path.is_file():
            raise InputError(
                "file-missing",
                f"folder {source} contains neither {ANNOTATIONS} nor "
                f"{', '.join(SPLIT_LISTS.values())}: give AVE's folder, or another --format",
            )
        lists = {"train": path}
    finder = MediaFinder(list(media) or [folder], WHOLE_FILE)
    clips = [clip for split, path in lists.items() for clip in _lines(path, split, finder)]
    return _as_listing(clips, finder, has_splits)


def _as_listing(clips: Sequence[Clip], finder: MediaFinder, has_splits: bool) -> Listing:
    lines_of: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        lines_of[clip.source].append(clip)
    named: list[Clip] = []
    ambiguous: set[str] = set()
    num_repeated = 0
    for lines in lines_of.values():
        labels = {clip.labels for clip in lines}
        for number, clip in enumerate(lines, 1):
            if number > 1 and (clip.labels, clip.split) == (lines[0].labels, lines[0].split):
                num_repeated += 1  # the same event, or another of the same class
                continue
            clip_id = clip.id if number == 1 else f"{clip.id}#{number}"
            named.append(replace(clip, id=clip_id))
            if len(labels) > 1:
                ambiguous.add(clip_id)
    notes = [f"{num_repeated} lines repeat a recording and its class"] if num_repeated else []
    if ambiguous:
        notes.append(
            f"{len(ambiguous)} lines contradict the class of another line of the same recording; "
            "they are separate clips in the published splits"
        )
    return Listing(
        clips=tuple(named),
        alphabetical=True,
        notes=(*notes, *finder.notes()),
        has_splits=has_splits,
        ambiguous=frozenset(ambiguous),
    )


def _lines(path: Path, split: str, finder: MediaFinder) -> list[Clip]:
    clips = []
    for number, line in enumerate(read_lines(path, "list"), 1):
        if not line.strip() or line.lower().startswith(_HEADER):
            continue
        where = f"{path} line {number}"
        values = line.strip().split("&")
        if len(values) != 5:
            raise InputError(
                "bad-list",
                f"{where} is not Category&VideoID&Quality&StartTime&EndTime: give AVE's own list",
            )
        label, video = listed_label(values[0], where), check_video(values[1], where)
        try:
            start_s, end_s = float(values[3]), float(values[4])
        except ValueError:
            raise InputError(
                "bad-list", f"{where}: {values[3:]} are not seconds; correct the line"
            ) from None
        clips.append(
            Clip(
                id=video,
                path=finder.find(Name(video), video),
                labels=(label,),
                split=split,
                source=video,
                # One event of the list has start = end: its interval is unknown.
                sounds=((start_s, end_s),) if 0 <= start_s < end_s < float("inf") else (),
            )
        )
    return clips
