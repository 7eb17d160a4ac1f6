"""Clips in folders named after their classes, with or without folders for the splits."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cign.data.clips import SPLITS, Clip, check_label
from cign.data.formats.listing import Listing
from cign.data.pictures import PICTURE_FOLDER, PICTURE_SUFFIXES
from cign.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"}
    | {".flv", ".wmv", ".3gp", ".ogv", ".vob", ".gif"}
)
AUDIO_SUFFIXES = frozenset(
    {".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".wma", ".aiff", ".ac3"}
)
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES


def read_folders(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read ``SOURCE/{train,val,test,unknown}/<class>/*`` or ``SOURCE/<class>/*``.

    Without split folders, 70 / 10 / 20 % of each class become train, val and test by a hash of
    the source path; without a val folder, a tenth of train does. The share is exact to the clip
    and does not depend on the order of the files.

    Args:
        source: The folder.
        media: Must be empty: the folders are the media.

    Raises:
        InputError: If the folder holds no clips in this layout.
    """
    if media:
        raise InputError("--media is for tables: a source of class folders holds its own media")
    if not source.is_dir():
        raise InputError(f"source {source} is not a folder: give the folder of class folders")
    folders = _visible_folders(source)
    if not _has_split_folders(folders):
        clips, num_other = _read_classes(source, folders, split="train")
        clips = divide(clips, {"val": 0.1, "test": 0.2})
    else:
        for folder in folders:
            if folder.name not in SPLITS:
                raise InputError(
                    f"folder {folder.name!r} of source {source} is not a split: beside "
                    f"train only {', '.join(SPLITS)} may stand; move or rename it"
                )
        clips, num_other = [], 0
        for folder in folders:
            found, others = _read_classes(source, _visible_folders(folder), split=folder.name)
            clips += found
            num_other += others
        if not any(clip.split == "val" for clip in clips):
            train = divide([c for c in clips if c.split == "train"], {"val": 0.1})
            clips = train + [c for c in clips if c.split != "train"]
    if not clips:
        raise InputError(
            f"source {source} holds no media files in class folders: put clips into "
            f"{source.name}/<class>/ or {source.name}/train/<class>/, or give a table"
        )
    notes = (f"{num_other} files that are not media were ignored",) if num_other else ()
    clips.sort(key=lambda clip: clip.id)
    return Listing(clips=tuple(clips), alphabetical=True, notes=notes)


def divide(clips: Sequence[Clip], shares: dict[str, float]) -> list[Clip]:
    """Move shares of the training clips of each class to other splits, by a hash.

    The clips of one source stay together: it is the sources of a class that are ranked by the
    hash of their path. At least one source of each class stays in train.

    Args:
        clips: Training clips; a clip of several classes is ranked with the first.
        shares: Split and share in 0..1.
    """
    sources: dict[str, dict[str, None]] = defaultdict(dict)
    for clip in clips:
        sources[clip.labels[0]][clip.source] = None
    split_of: dict[str, str] = {}
    for names in sources.values():
        # A source with clips of several classes keeps the split that its first class gave it.
        ranked = sorted((n for n in names if n not in split_of), key=_rank)
        first = 0
        for split, share in shares.items():
            count = min(int(share * len(ranked) + 0.5), max(len(ranked) - 1 - first, 0))
            split_of.update(dict.fromkeys(ranked[first : first + count], split))
            first += count
        split_of.update(dict.fromkeys(ranked[first:], "train"))
    return [replace(clip, split=split_of[clip.source]) for clip in clips]


def _rank(source: str) -> bytes:
    return hashlib.sha256(source.encode()).digest()


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and the folders inside, through symbolic links, sorted.

    Raises:
        InputError: If a folder cannot be read: its clips would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        raise InputError(
            f"folder {error.filename} cannot be read ({error.strerror}): correct its permissions, "
            "or move it out of the source"
        )

    found = []
    seen = set[str]()  # a link to a folder further up would go round for ever
    for place, inside, names in os.walk(folder, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(place))
        inside[:] = [name for name in inside if os.path.realpath(Path(place, name)) not in seen]
        found += [Path(place, name) for name in names]
    return sorted(path for path in found if path.is_file())


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _has_split_folders(folders: Sequence[Path]) -> bool:
    """Tell a split named train from a class of trains: the split holds folders, not files."""
    train = [folder for folder in folders if folder.name in SPLITS]
    return any(
        _visible_folders(folder) and not any(_is_media(path) for path in folder.iterdir())
        for folder in train
    )


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith(".")


def _is_picture(path: Path) -> bool:
    """Whether it may belong to a sound file in a folder of its own."""
    return PICTURE_FOLDER in path.parts and path.suffix.lower() in PICTURE_SUFFIXES


def _read_classes(source: Path, folders: Sequence[Path], *, split: str) -> tuple[list[Clip], int]:
    clips: list[Clip] = []
    num_other = 0
    for folder in folders:
        files = [p for p in files_below(folder) if not p.name.startswith(".")]
        media = [path for path in files if _is_media(path)]
        num_other += len(files) - len(media) - sum(map(_is_picture, files))
        label = check_label(folder.name, f"folder of source {source}") if media else ""
        for path in media:
            identity = path.relative_to(source).as_posix()
            try:
                identity.encode()
            except UnicodeEncodeError:
                raise InputError(
                    f"file name {identity!r} in {source} is not UTF-8: rename the file"
                ) from None
            if not identity.isprintable():
                raise InputError(f"file name {identity!r} holds a control character: rename it")
            clips.append(Clip(id=identity, path=path, labels=(label,), split=split))
    return clips, num_other
