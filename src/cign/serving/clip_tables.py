"""The table of clips to learn from, written for clips that were uploaded."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from cign.data.formats.label_texts import label_text
from cign.errors import InputError
from cign.saved_model.validation_clips import KEPT_PER_CLASS
from cign.updating.new_classes import check_name

MOST_CLIPS = 100
# Our choice: one clip in so many becomes a validation clip, to measure the effect of later changes.
SET_ASIDE_EVERY = 5


def num_set_aside(num_clips: int) -> int:
    """Number of validation clips of a class, which are not learned from."""
    return min(num_clips // SET_ASIDE_EVERY, KEPT_PER_CLASS)


def lay_out(
    names: str | Sequence[str], clips: Sequence[Path], folder: Path, *, validation: bool = True
) -> Path:
    """Write clips of the same class or classes as a table for `cign add`.

    Args:
        names: Name of the class; several names for clips with several labels.
        clips: The clips, in the order of choice.
        folder: Folder for the table and the clips.
        validation: Whether the last `num_set_aside` clips are in split val; otherwise all are in
            train.

    Returns:
        Path of the table.

    Raises:
        InputError: If a name is not allowed, or there are no or too many clips.
    """
    given = [names] if isinstance(names, str) else names
    labels = "|".join(label_text(check_name(name.strip())) for name in given)
    if not clips:
        raise InputError("missing-option", "no clip was chosen: choose a few clips of the class")
    if len(clips) > MOST_CLIPS:
        raise InputError(
            "bad-value",
            f"{len(clips)} clips were chosen: teach at most {MOST_CLIPS} at a time, or use "
            "`cign add`",
        )
    first_aside = len(clips) - (num_set_aside(len(clips)) if validation else 0)
    folder.mkdir(parents=True)
    table = folder / "clips.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "labels", "split"))
        for number, clip in enumerate(clips):
            place = f"{number:03d}-{clip.stem[:60]}{clip.suffix.lower()}"
            (folder / place).hardlink_to(clip)
            split = "train" if number < first_aside else "val"
            writer.writerow((place, labels, split))
    return table
