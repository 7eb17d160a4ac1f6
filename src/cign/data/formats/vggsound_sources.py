"""Reader of VGG-Sound Sources: clips of VGGSound's test list with boxes (Chen et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cign.data.clips import Clip
from cign.data.formats.ids import clip_name, folder_of, listed_in
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import YOUTUBE_CLIP, MediaFinder
from cign.data.formats.registry import register_format
from cign.data.formats.vggsound import FULL_LIST, make_clip, rows
from cign.errors import InputError
from cign.utils.files import read_json

BOXES = "vggss.json"
Box = tuple[float, float, float, float]


@register_format("vgg-sound-sources", files=(BOXES,), over=("vggsound",))
def read_vggsound_sources(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read ``vggss.json`` as test clips, and VGGSound's training clips of its labels.

    The training clips come from ``vggsound.csv`` or ``train.csv`` in the same folder. Without
    these files there are only test clips, which can be inspected and used for evaluation.

    Args:
        source: ``vggss.json``, or its folder.
        media: Folders with the clips; the folder of the list if empty.

    Raises:
        InputError: If the lists are missing or have other contents.
    """
    (path,) = listed_in(source, (BOXES,), "VGG-Sound Sources")
    finder = MediaFinder(list(media) or [folder_of(source)], YOUTUBE_CLIP)
    entries = read_json(path, "list")
    if not isinstance(entries, list) or not entries:
        raise InputError(
            "wrong-format",
            f"list {path} is not a list of annotated clips: give {BOXES} as published",
        )
    clips: list[Clip] = []
    num_bad = num_without = 0
    for number, entry in enumerate(entries, 1):
        clip, num_dropped = _annotated(entry, f"{path} entry {number}", finder)
        num_bad += num_dropped
        num_without += not clip.boxes
        clips.append(clip)
    notes = [f"{len(clips)} annotated clips with {sum(len(c.boxes) for c in clips)} boxes"]
    if num_bad:
        notes.append(
            f"{num_bad} further boxes are empty or not within [0, 1] and were left out; "
            f"{num_without} of the annotated clips have no valid box"
        )
    trained = _training_clips(folder_of(source), {clip.labels[0] for clip in clips}, finder)
    if trained:
        notes.append(f"{len(trained)} training clips of VGGSound have the same labels")
    else:
        notes.append(f"no {FULL_LIST} or train.csv next to {path.name}: test clips only")
    return Listing(
        clips=(*trained, *clips),
        alphabetical=True,
        notes=(*notes, *finder.notes()),
        keep_test=True,
    )


def _annotated(entry: Any, where: str, finder: MediaFinder) -> tuple[Clip, int]:
    """Return an annotated clip, and the number of its invalid boxes."""
    try:
        text, label, boxes = str(entry["file"]), entry["class"], list(entry["bbox"])
        numbers = [[float(value) for value in box] for box in boxes]
    except (TypeError, KeyError, ValueError):
        raise InputError(
            "wrong-format", f"{where} has no file, class and bbox: give {BOXES} as published"
        ) from None
    good = tuple(box for values in numbers if (box := _box(values)) is not None)
    clip = make_clip(clip_name(text, where), listed_label(label, where), "test", finder)
    return replace(clip, boxes=good), len(numbers) - len(good)


def _box(values: Sequence[float]) -> Box | None:
    if len(values) != 4:
        return None
    x0, y0, x1, y1 = values
    # Comparisons with NaN are false, so NaN is rejected too.
    return (x0, y0, x1, y1) if 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 else None


def _training_clips(folder: Path, labels: set[str], finder: MediaFinder) -> list[Clip]:
    lists = [folder / name for name in (FULL_LIST, "train.csv") if (folder / name).is_file()]
    if not lists:
        return []
    return [
        make_clip(name, label, split, finder)
        for name, label, split, _ in rows(lists[0])
        if name is not None and split == "train" and label in labels
    ]
