"""Reader of the lists of AV-CIL (Pian et al. 2023): dictionaries in ``.npy`` files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cign.data.clips import Clip
from cign.data.formats.ids import check_video, folder_of
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import WHOLE_OR_TRIMMED, YOUTUBE_CLIP, MediaFinder, Name
from cign.data.formats.npy_dict import read_npy_dict
from cign.data.formats.registry import register_format
from cign.errors import InputError

LABELS = "all_id_category_dict.npy"
NUMBERS = "category_encode_dict.npy"
_SPLITS = ("train", "val", "test")
# Ids of VGGSound end with the start second; ids of AVE and Kinetics are those of the recording.
_WITH_START = re.compile(r"([A-Za-z0-9_-]{11})_([0-9]{6})")


@register_format("av-cil", files=(LABELS,))
def read_av_cil(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read ``all_id_category_dict.npy``, in the class order of ``category_encode_dict.npy``.

    Args:
        source: The folder of the files.
        media: Folders with the clips; the folder of the lists if empty.

    Raises:
        InputError: If the files are missing or have other contents.
    """
    folder = folder_of(source)
    path = source if source.is_file() else folder / LABELS
    if not path.is_file():
        raise InputError(
            "file-missing",
            f"folder {folder} contains no {LABELS}: give one of the dataset folders of AV-CIL, or "
            "another --format",
        )
    finder = MediaFinder(list(media) or [folder], (*YOUTUBE_CLIP, *WHOLE_OR_TRIMMED))
    by_split = read_npy_dict(path)
    if not set(_SPLITS) >= set(by_split) or not by_split:
        raise InputError(
            "wrong-format", f"{path} is not a dictionary of train, val and test: give {LABELS}"
        )
    clips = [
        _clip(text, label, split, f"{path} ({split})", finder)
        for split in _SPLITS
        for text, label in _items(by_split.get(split, {}), path)
    ]
    order, notes = _class_order(folder / NUMBERS)
    return Listing(clips=tuple(clips), class_order=order, notes=(*notes, *finder.notes()))


def _items(value: Any, path: Path) -> list[tuple[str, str]]:
    if not isinstance(value, dict) or not all(
        isinstance(text, str) and isinstance(label, str) for text, label in value.items()
    ):
        raise InputError("bad-list", f"{path} does not give each id a class name: give {LABELS}")
    return list(value.items())


def _clip(text: str, label: str, split: str, where: str, finder: MediaFinder) -> Clip:
    check_video(text, where)
    match = _WITH_START.fullmatch(text)
    name = Name(match[1], int(match[2]), int(match[2]) + 10) if match else Name(text)
    return Clip(
        id=text,
        path=finder.find(name, text),
        labels=(listed_label(label, where),),
        split=split,
        source=name.video,
    )


def _class_order(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes by number, which is the order in which they are learned."""
    if not path.is_file():
        return (), (f"without {NUMBERS}, classes are ordered by first appearance",)
    numbers = read_npy_dict(path)
    if not all(isinstance(k, str) and isinstance(v, int) for k, v in numbers.items()):
        raise InputError(
            "bad-list", f"{path} does not give each class name a number: give {NUMBERS}"
        )
    repeated = [number for number, times in Counter(numbers.values()).items() if times > 1]
    if repeated:
        raise InputError(
            "bad-list", f"{path} gives two classes the number {repeated[0]}: give {NUMBERS}"
        )
    return tuple(sorted(numbers, key=lambda name: int(numbers[name]))), ()
