"""Reader of VGGSound-Instruments in four groups of nine classes, as in the CIGN release."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cign.data.clips import Clip
from cign.data.formats.ids import PLACEHOLDER, clip_name, placeholder_note, read_rows
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import YOUTUBE_CLIP, MediaFinder
from cign.data.formats.registry import register_format
from cign.data.formats.vggsound import make_clip
from cign.errors import InputError

FULL_LIST = "vgginstruments_train.txt"
GROUP_LIST = re.compile(r"avctl_vgginstruments_group_(\d+)_(train|val|test)\.txt")
_SPLITS = ("train", "val", "test")
_COLUMNS = "VIDEO_START,class"


@register_format("vggsound-instruments", files=(GROUP_LIST,))
def read_instruments(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read the lists of the groups, and the labels of the full list if it exists.

    Args:
        source: The folder of the lists.
        media: Folders with the clips; the folder of the lists if empty.

    Raises:
        InputError: If the lists are missing or have other contents.
    """
    lists = group_lists(source)
    finder = MediaFinder(list(media) or [source], YOUTUBE_CLIP)
    clips: list[Clip] = []
    num_placeholders = 0
    classes: dict[int, set[str]] = {}
    for group, split in sorted(lists, key=lambda key: (key[0], _SPLITS.index(key[1]))):
        for where, (text, label) in read_rows(lists[group, split], 2, _COLUMNS):
            if text == PLACEHOLDER:
                num_placeholders += 1
                continue
            clip = make_clip(clip_name(text, where), listed_label(label, where), split, finder)
            classes.setdefault(group, set()).update(clip.labels)
            clips.append(clip)
    sizes = ", ".join(str(len(names)) for names in classes.values())
    true_labels, notes = _true_labels(source, clips)
    return Listing(
        clips=tuple(clips),
        notes=(
            f"{len(classes)} published groups of {sizes} classes, together in class order 0",
            *placeholder_note(num_placeholders),
            *notes,
            *finder.notes(),
        ),
        true_labels=true_labels,
    )


def group_lists(source: Path) -> dict[tuple[int, str], Path]:
    """Return the lists of a folder by group and split.

    Raises:
        InputError: If there are none, or a group lacks one.
    """
    if not source.is_dir():
        raise InputError(
            "file-missing", f"source {source} is not a folder: give the folder of the group lists"
        )
    lists = {
        (int(match[1]), match[2]): path
        for path in source.iterdir()
        if (match := GROUP_LIST.fullmatch(path.name))
    }
    if not lists:
        raise InputError(
            "file-missing",
            f"folder {source} contains no avctl_vgginstruments_group_*_*.txt: give the folder of "
            "the group lists, or another --format",
        )
    for group in sorted({group for group, _ in lists}):
        for split in _SPLITS:
            if (group, split) not in lists:
                raise InputError(
                    "file-missing",
                    f"folder {source} lacks avctl_vgginstruments_group_{group}_{split}.txt: add "
                    "the list, or remove the other lists of this group",
                )
    return lists


def _true_labels(
    source: Path, clips: Sequence[Clip]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the full list's labels of the clips that the groups label differently, and notes."""
    path = source / FULL_LIST
    if not path.is_file():
        return {}, (f"without {FULL_LIST} in the same folder, the labels cannot be checked",)
    label_of: dict[str, str] = {}
    for where, (text, label) in read_rows(path, 2, _COLUMNS):
        if text == PLACEHOLDER:
            continue
        name = clip_name(text, where)
        clip_id, label = f"{name.video}_{name.start_s:06d}", listed_label(label, where)
        if label_of.setdefault(clip_id, label) != label:
            raise InputError(
                "bad-list",
                f"{where} gives clip {clip_id} the label {label!r}, but an earlier row gives "
                f"{label_of[clip_id]!r}: remove one of the rows",
            )
    wrong: dict[str, tuple[str, ...]] = {
        clip.id: (label_of[clip.id],)
        for clip in clips
        if clip.id in label_of and clip.labels != (label_of[clip.id],)
    }
    counts = {split: sum(c.split == split for c in clips if c.id in wrong) for split in _SPLITS}
    notes = [
        f"{num} {split} lines have another label than the full list"
        for split, num in counts.items()
        if num
    ]
    num_unknown = sum(clip.id not in label_of for clip in clips)
    if num_unknown:
        notes.append(f"{num_unknown} clips are not in the full list; their label is not changed")
    return wrong, tuple(notes)
