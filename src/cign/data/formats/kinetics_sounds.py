"""Reader of Kinetics-Sounds: the audio-visual classes of Kinetics (Arandjelovic et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cign.data.clips import Clip
from cign.data.formats.delimited import read_delimited
from cign.data.formats.ids import (
    CLASS_LIST,
    check_video,
    class_list,
    folder_of,
    listed_in,
    seconds,
)
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import TRIMMED_CLIP, MediaFinder, Name
from cign.data.formats.registry import register_format
from cign.data.formats.split_names import sure_split
from cign.errors import InputError, one_of

LISTS = ("train.csv", "validate.csv", "val.csv", "test.csv")
_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_SPLITS = ("train", "val", "test")


@register_format("kinetics-sounds")
def read_kinetics_sounds(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read lists in the form of Kinetics, limited to the classes of ``classes.txt`` next to them.

    Publications use between 30 and 34 classes of Kinetics; that file selects them. Without it, all
    classes of the lists are read.

    Args:
        source: The folder of the lists, or a list.
        media: Folders with the clips; the folder of the lists if empty.

    Raises:
        InputError: If the lists are missing or have other contents.
    """
    classes = class_list(folder_of(source))
    selected = set(classes)
    finder = MediaFinder(list(media) or [folder_of(source)], TRIMMED_CLIP)
    clips: list[Clip] = []
    labels: set[str] = set()
    for path in listed_in(source, LISTS, "Kinetics"):
        for label, split, name in _rows(path):
            labels.add(label)
            if selected and label not in selected:
                continue
            clip_id = f"{name.video}_{name.start_s:06d}_{name.end_s:06d}"
            found = finder.find(name, clip_id)
            clips.append(
                Clip(id=clip_id, path=found, labels=(label,), split=split, source=name.video)
            )
    unknown = [name for name in classes if name not in labels]
    if unknown:
        raise InputError(
            "bad-list",
            f"class list {folder_of(source) / CLASS_LIST} names {unknown[0]!r}, which is not a "
            f"label of the lists in {source}: write the labels exactly as in those lists",
        )
    note = (
        f"{len(classes)} of {len(labels)} labels were read, those of {CLASS_LIST}"
        if classes
        else f"no {CLASS_LIST} next to the lists: all {len(labels)} labels were read"
    )
    return Listing(
        clips=tuple(clips),
        alphabetical=not classes,
        class_order=classes,
        notes=(note, *finder.notes()),
    )


def _rows(path: Path) -> Iterator[tuple[str, str, Name]]:
    columns, rows = read_delimited(path, "list", _COLUMNS)
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise InputError(
            "wrong-format",
            f"list {path} has no column {missing[0]!r}: its header must name {', '.join(_COLUMNS)}",
        )
    for where, row in rows:
        label, video, start, end, listed_split = (row[name] for name in _COLUMNS)
        split = sure_split(listed_split)
        if split not in _SPLITS:
            raise one_of(listed_split, _SPLITS, f"split in {where}")
        name = Name(check_video(video, where), seconds(start, where), seconds(end, where))
        yield listed_label(label, where), split, name
