"""Clips in shards, as WebDataset has them: tar files whose members of one key are one clip.

``KEY.mp4`` (or another video) or ``KEY.wav`` and ``KEY.jpg``, beside ``KEY.json`` with the columns
of a table, or ``KEY.cls`` with the class. ``classnames.txt`` gives the order of the classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cign.data.clips import SPLITS, Clip, check_label, clip_id, relative_inside
from cign.data.formats.folders import AUDIO_SUFFIXES, VIDEO_SUFFIXES, divide
from cign.data.formats.listing import Listing
from cign.data.formats.table import clip_of_row
from cign.data.shards import ShardIndex, find_shards, key_of, read_index
from cign.errors import InputError

CLASS_NAMES = "classnames.txt"
_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
_LARGEST_RECORD = 1_000_000


def read_webdataset(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read the clips of shards.

    Args:
        source: A folder of .tar files, which may lie in folders named after splits, or one of them.
        media: Must be empty: the shards hold the media.

    Raises:
        InputError: If there is no shard, or a record contradicts itself.
    """
    if media:
        raise InputError("--media is for tables: shards hold their own media")
    root = source if source.is_dir() else source.parent
    class_names = _class_names(root / CLASS_NAMES)
    clips: list[Clip] = []
    notes: list[str] = []
    left_out: Counter[str] = Counter()
    num_shards = 0
    for number, path in enumerate(find_shards(source), 1):
        num_shards = number
        index = read_index(path)
        where = path.relative_to(root).as_posix()
        if index.damage:
            notes.append(f"shard {where} is damaged ({index.damage}): what stands before was read")
        if index.refused:
            left_out["links or have names that leave their shard"] += len(index.refused)
        clips += _clips(index, where, root, class_names, left_out)
    if not num_shards:
        raise InputError(f"source {source} holds no .tar file: give the folder of the shards")
    if not clips:
        why = "; ".join(notes + [f"{n} files {what}" for what, n in left_out.items()])
        raise InputError(
            f"the {num_shards} shards of {source} hold no clip ({why or 'they are empty'}): a clip "
            "is KEY.mp4, or KEY.wav and KEY.jpg, beside KEY.json or KEY.cls"
        )
    notes += [f"{number} files {what} and were left out" for what, number in left_out.items()]
    return Listing(
        clips=tuple(_with_splits(clips, source)),
        alphabetical=not class_names,
        notes=tuple(notes),
        class_order=class_names,
    )


def _clips(
    index: ShardIndex,
    where: str,
    root: Path,
    class_names: tuple[str, ...],
    left_out: Counter[str],
) -> list[Clip]:
    """The clips of a shard in its order; a split that nothing names is left empty."""
    groups: dict[str, dict[str, str]] = {}
    for name in index.members:
        key, extension = key_of(name)
        groups.setdefault(key, {})[extension.lower()] = name
    clips = []
    for key, files in groups.items():
        media, unused = _media(files)
        left_out["are of no use beside the others of their key"] += unused
        row = _row(index, key, files, f"{where}/{key}", class_names)
        if media is None or not row.get("labels"):
            what = "no KEY.json or KEY.cls" if media else "no video, or sound and picture,"
            left_out[f"have {what} beside them"] += len(files)
            continue
        row.setdefault("split", _split_of(where) or "train")
        row["path"] = f"{where}/{media}"
        clip = clip_of_row(row, f"{where}/{key}", [root])
        own = row.get("id") or clip_id(f"{where.removesuffix('.tar')}/{key}", *_times(clip))
        name = relative_inside(str(own), [root], f"{where}/{key}.json")
        clip = replace(clip, id=name, source=str(row.get("source") or name.partition("@")[0]))
        clips.append(clip if "given" in row or _split_of(where) else replace(clip, split=""))
    left_out += Counter()  # without zeros
    return clips


def _times(clip: Clip) -> tuple[float | None, float | None]:
    return clip.start_s, clip.end_s


def _media(files: Mapping[str, str]) -> tuple[str | None, int]:
    """The name of what is decoded, and how many files it leaves unused."""
    kinds: dict[str, list[str]] = {"video": [], "audio": [], "picture": []}
    for extension in sorted(files):
        suffix = "." + extension.rpartition(".")[2]
        for kind, suffixes in (
            ("video", VIDEO_SUFFIXES),
            ("audio", AUDIO_SUFFIXES),
            ("picture", _PICTURES),
        ):
            if suffix in suffixes:
                kinds[kind].append(extension)
    num_media = sum(map(len, kinds.values()))
    if kinds["video"]:
        return files[kinds["video"][0]], num_media - 1
    if kinds["audio"] and kinds["picture"]:
        sound = key_of(files[kinds["audio"][0]])[1]
        return f"{files[kinds['picture'][0]]}+{sound}", num_media - 2
    if kinds["audio"]:
        return files[kinds["audio"][0]], num_media - 1
    return None, 0


def _row(
    index: ShardIndex, key: str, files: Mapping[str, str], where: str, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """The columns of a clip, from its record or its class."""
    row: dict[str, Any] = {}
    if "json" in files:
        text = index.read(files["json"], _LARGEST_RECORD)
        try:
            row = json.loads(text)
            if not isinstance(row, dict):
                raise ValueError("it is not an object")
        except ValueError as error:
            raise InputError(f"{where}.json cannot be read ({error}): correct it") from None
        row.setdefault("labels", row.get("label"))
        if row.get("split"):
            row["given"] = True
        else:
            row.pop("split", None)
    if not row.get("labels") and "cls" in files:
        text = index.read(files["cls"], _LARGEST_RECORD)
        row["labels"] = [_class_of(text, f"{where}.cls", class_names)]
    return row


def _class_of(text: bytes, where: str, class_names: tuple[str, ...]) -> str:
    try:
        name = text.decode().strip()
    except UnicodeDecodeError:
        raise InputError(f"{where} is not UTF-8: write the class's name or number") from None
    if not (name.isdecimal() and class_names):
        return name
    if int(name) >= len(class_names):
        raise InputError(f"{where} is {name}, {CLASS_NAMES} names {len(class_names)}: correct it")
    return class_names[int(name)]


def _class_names(path: Path) -> tuple[str, ...]:
    """The classes in their order, one a line; nothing without the file."""
    if not path.is_file():
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8: save it as UTF-8") from None
    return tuple(check_label(line, f"{path} line {i}") for i, line in enumerate(lines, 1))


def _split_of(where: str) -> str | None:
    """The split that a shard's name or folder begins with, as in ``train-000000.tar``."""
    for part in reversed(Path(where).with_suffix("").parts):
        for split in SPLITS:
            if part == split or part.startswith((f"{split}-", f"{split}_", f"{split}.")):
                return split
    return None


def _with_splits(clips: list[Clip], source: Path) -> list[Clip]:
    """Divide clips of which no split is known; 70 / 10 / 20 % as `read_folders` does."""
    without = [clip for clip in clips if not clip.split]
    if not without:
        return clips
    if len(without) < len(clips):
        raise InputError(
            f"clip {without[0].id} of {source} has no split, others have: name it in KEY.json, or "
            "in the shard's name, as in train-000000.tar"
        )
    return divide([replace(c, split="train") for c in clips], {"val": 0.1, "test": 0.2})
