"""Reader of VGGSound's lists, complete or limited to a class list (Chen et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cign.data.clips import Clip
from cign.data.formats.ids import (
    CLASS_LIST,
    PLACEHOLDER,
    check_video,
    class_list,
    clip_name,
    folder_of,
    listed_in,
    placeholder_note,
    read_rows,
    read_text,
    seconds,
)
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import YOUTUBE_CLIP, MediaFinder, Name
from cign.data.formats.registry import register_format
from cign.data.formats.split_names import sure_split
from cign.errors import InputError, one_of

FULL_LIST = "vggsound.csv"
SPLIT_LISTS = ("train.csv", "test.csv")

# A clip of the lists: its name, label and split, and its location in the list.
Row = tuple[Name | None, str, str, str]


@register_format("vggsound", files=(FULL_LIST,))
def read_vggsound(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read ``vggsound.csv``, or ``train.csv`` and ``test.csv``, or one of them.

    Args:
        source: The folder of the lists, or a list.
        media: Folders with the clips; the folder of the lists if empty.

    Raises:
        InputError: If the lists are missing or have other contents.
    """
    return _listing(source, media, ())


@register_format("vggsound-100")
def read_vggsound_100(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read VGGSound's lists, limited to the classes of ``classes.txt`` next to them, in its order.

    Raises:
        InputError: As `read_vggsound`, and if there is no class list or it names other classes.
    """
    classes = class_list(folder_of(source))
    if not classes:
        raise InputError(
            "file-missing",
            f"folder {folder_of(source)} contains no {CLASS_LIST}: create it with one class per "
            "line, or use --format vggsound for all classes",
        )
    return _listing(source, media, classes)


def _listing(source: Path, media: Sequence[Path], classes: tuple[str, ...]) -> Listing:
    finder = MediaFinder(list(media) or [folder_of(source)], YOUTUBE_CLIP)
    selected = set(classes)
    clips, num_placeholders, labels = [], 0, set()
    for name, label, split, _ in rows(source):
        labels.add(label)
        if name is None:
            num_placeholders += 1
        elif not selected or label in selected:
            clips.append(make_clip(name, label, split, finder))
    unknown = [name for name in classes if name not in labels]
    if unknown:
        raise InputError(
            "bad-list",
            f"class list {folder_of(source) / CLASS_LIST} names {unknown[0]!r}, which is not a "
            f"label of the lists in {source}: write the labels exactly as in those lists",
        )
    notes = [*placeholder_note(num_placeholders), *finder.notes()]
    if classes:
        notes.insert(0, f"{len(classes)} of {len(labels)} labels were read, those of {CLASS_LIST}")
    return Listing(clips=tuple(clips), class_order=classes, notes=tuple(notes))


def make_clip(name: Name, label: str, split: str, finder: MediaFinder) -> Clip:
    """Create a clip from ten seconds of a recording that are stored in a separate file."""
    clip_id = f"{name.video}_{name.start_s:06d}"
    return Clip(
        id=clip_id,
        path=finder.find(name, clip_id),
        labels=(label,),
        split=split,
        source=name.video,
    )


def rows(source: Path) -> Iterator[Row]:
    """Read the rows of the lists; the name is None for a placeholder.

    Raises:
        InputError: If the lists are missing or have other contents.
    """
    for path in vggsound_lists(source):
        if _first_row_has_four(path):
            yield from _full(path)
        else:
            yield from _of_split(path)


def vggsound_lists(source: Path) -> list[Path]:
    """Return the full list of a folder, or the lists of the splits if there is no full list."""
    found = listed_in(source, (FULL_LIST, *SPLIT_LISTS), "VGGSound")
    # The full list contains both splits.
    return found[:1] if found[0].name == FULL_LIST else found


def _first_row_has_four(path: Path) -> bool:
    first = read_text(path, "list").partition("\n")[0]
    # Distinguish VIDEO,START,LABEL,SPLIT from VIDEO_START.mp4,LABEL; the label may contain commas.
    split = sure_split(first.rpartition(",")[2].strip().strip('"'))
    return split in ("train", "test") and first.count(",") >= 3


def _full(path: Path) -> Iterator[Row]:
    for where, (video, start, label, listed) in read_rows(path, 4, "id,start second,label,split"):
        split = sure_split(listed)
        if split not in ("train", "test"):
            raise one_of(listed, ("train", "test"), f"split in {where}")
        name = None
        if video != PLACEHOLDER:
            start_s = seconds(start, where)
            name = Name(check_video(video, where), start_s, start_s + 10)
        yield name, listed_label(label, where), split, where


def _of_split(path: Path) -> Iterator[Row]:
    split = next((s for s in ("train", "test") if s in path.stem.lower()), None)
    for where, (file, label) in read_rows(path, 2, "VIDEO_START.mp4,label"):
        if split is None:
            raise InputError(
                "bad-list",
                f"the name of list {path} does not contain its split: rename it to train.csv or "
                "test.csv",
            )
        text = file.removesuffix(".mp4")
        name = None if text == PLACEHOLDER else clip_name(text, where)
        yield name, listed_label(label, where), split, where
