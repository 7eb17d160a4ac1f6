"""Reader of clips in folders named after their classes, with or without split folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cign.data.clips import Clip, check_label
from cign.data.formats.dividing import divide
from cign.data.formats.label_texts import BACKGROUND
from cign.data.formats.listing import Listing
from cign.data.formats.registry import register_format
from cign.data.formats.scanning import EMPTY, LOOSE, MAX_NAMED, Scan
from cign.data.formats.split_names import mentions_split, split_word, splits_of
from cign.data.media.recognition import AUDIO_SUFFIXES, MEDIA_SUFFIXES, VIDEO_SUFFIXES
from cign.data.walking import visible_folders
from cign.errors import InputError
from cign.utils.wording import listed
from cign.vocabulary import SPLITS

__all__ = ["AUDIO_SUFFIXES", "MEDIA_SUFFIXES", "VIDEO_SUFFIXES", "divide", "read_folders"]


@register_format("folders")
def read_folders(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read ``SOURCE/{train,val,test,unknown}/<class>/*`` or ``SOURCE/<class>/*``.

    The folder ``_background`` in the place of a class has clips with none of the classes. Names of
    splits are recognised in any case and usual spelling (``Training``, ``VALID``).
    Without split folders, 70 / 10 / 20 % of each class become train, val and test by a hash of the
    source path; without a val folder, a tenth of train becomes val. The share is exact to the clip
    and does not depend on the order of the files.

    Args:
        source: The folder.
        media: Must be empty: the folders contain the media.

    Raises:
        InputError: If the folder contains no clips in this layout, or split folders in another
            layout.
    """
    if media:
        raise InputError(
            "conflicting-options",
            "--media is for tables: a source of class folders contains its own media",
        )
    if not source.is_dir():
        raise InputError(
            "file-missing", f"source {source} is not a folder: give the folder of class folders"
        )
    scan = Scan(source)
    folders = visible_folders(source)
    splits = _split_folders(scan, folders)
    notes: tuple[str, ...] = ()
    if not splits:
        clips = _read_classes(scan, folders, split="train")
        clips = divide(clips, {"val": 0.1, "test": 0.2})
    else:
        clips = []
        for folder in folders:
            clips += _read_classes(scan, visible_folders(folder), split=splits[folder.name])
        if not any(clip.split == "val" for clip in clips):
            train = divide([c for c in clips if c.split == "train"], {"val": 0.1})
            clips = train + [c for c in clips if c.split != "train"]
        renamed = [f"{name} as {split}" for name, split in splits.items() if name != split]
        notes = (f"folders were read as splits: {', '.join(renamed)}",) if renamed else ()
    for path in scan.media_in(source):
        scan.ignore(path, LOOSE)
    if not clips:
        raise InputError(
            "no-clips",
            f"source {source} contains no media files in class folders: put clips into "
            f"{source.name}/<class>/ or {source.name}/train/<class>/, or give a table",
        )
    clips.sort(key=lambda clip: clip.id)
    return Listing(
        clips=tuple(clips),
        alphabetical=True,
        notes=(*notes, *scan.notes()),
        ignored=tuple(scan.ignored),
    )


def _read_classes(scan: Scan, folders: Sequence[Path], *, split: str) -> list[Clip]:
    clips: list[Clip] = []
    for folder in folders:
        media = scan.media_below(folder)
        if not media:
            scan.ignore(folder, EMPTY)
            continue
        label = check_label(folder.name, f"folder of source {scan.source}")
        labels = () if label == BACKGROUND else (label,)
        clips += [
            Clip(id=scan.name_of(path), path=path, labels=labels, split=split) for path in media
        ]
    return clips


def _split_folders(scan: Scan, folders: Sequence[Path]) -> dict[str, str]:
    """Return the split of each folder of a source; empty if they are class folders.

    A split folder contains folders and no clips. A class may have the name of a split, such as
    trains, if its folder contains clips and there are other class folders.

    Raises:
        InputError: If splits and classes cannot be distinguished.
    """
    source = scan.source
    named = [folder for folder in folders if split_word(folder.name)]
    with_clips = [folder for folder in named if scan.media_in(folder)]
    others = [folder for folder in folders if folder not in named]
    if any(folder not in with_clips and visible_folders(folder) for folder in named):
        if others:
            raise InputError(
                "bad-list",
                f"folder {others[0].name!r} of source {source} is not a split: next to "
                f"{named[0].name}, only {', '.join(SPLITS)} are allowed; move or rename it",
            )
        if with_clips:
            raise _without_classes(with_clips[0], source)
        return splits_of([folder.name for folder in folders], f"source {source}")
    if with_clips and (len({split_word(folder.name) for folder in named}) > 1 or not others):
        raise _without_classes(with_clips[0], source)
    _refuse_hidden_splits(scan, folders)
    return {}


def _without_classes(folder: Path, source: Path) -> InputError:
    return InputError(
        "bad-list",
        f"folder {folder.name!r} of source {source} has clips outside class folders: put them "
        f"into {folder.name}/<class>/, or rename the folder if it is a class",
    )


def _refuse_hidden_splits(scan: Scan, folders: Sequence[Path]) -> None:
    """Reject splits that would be read as classes, or would be lost inside of classes.

    Raises:
        InputError: For ``my_train/<class>/*`` next to ``my_test/<class>/*``, and for
            ``<class>/train/*`` next to ``<class>/test/*``.
    """
    inside = {folder: visible_folders(folder) for folder in folders}
    nested = [folder for folder, below in inside.items() if below and not scan.media_in(folder)]
    mentioned = {folder: split for folder in nested if (split := mentions_split(folder.name))}
    if len(set(mentioned.values())) > 1:
        names = listed((repr(folder.name) for folder in mentioned), MAX_NAMED)
        raise InputError(
            "bad-list",
            f"folders {names} of source {scan.source} look like splits: name them "
            f"{', '.join(SPLITS)}, or flatten the folders if they are classes",
        )
    for folder in nested:
        words = [path.name for path in inside[folder] if split_word(path.name)]
        if len(words) == len(inside[folder]) and len({split_word(word) for word in words}) > 1:
            raise InputError(
                "bad-list",
                f"folder {folder.name!r} of source {scan.source} contains folders of splits "
                f"({', '.join(words)}): give {folder} as the source if they contain class folders, "
                f"otherwise move them to {scan.source.name}/{words[0]}/{folder.name}/",
            )
