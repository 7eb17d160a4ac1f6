"""Reader of WebDataset shards: tar files in which all members of one key form one clip.

A clip is ``KEY.mp4`` (or another video), or ``KEY.wav`` and ``KEY.jpg``, together with
``KEY.json`` with the columns of a table, or ``KEY.cls`` with the class. ``classnames.txt`` gives
the order of the classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cign.data.clips import Clip, check_label, clip_id
from cign.data.formats.dividing import divide
from cign.data.formats.ids import read_lines
from cign.data.formats.label_texts import label_text
from cign.data.formats.labels import is_missing
from cign.data.formats.listing import Listing
from cign.data.formats.paths import relative_inside
from cign.data.formats.registry import register_format
from cign.data.formats.split_names import split_word, splits_of
from cign.data.formats.table import clip_of_row
from cign.data.media.recognition import AUDIO_SUFFIXES, VIDEO_SUFFIXES, is_text, kind_of
from cign.data.shards import ShardIndex, as_file, find_shards, key_of, read_index
from cign.errors import InputError
from cign.utils.file_text import escape_name
from cign.utils.files import parse_json

CLASS_NAMES = "classnames.txt"
_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
_LARGEST_RECORD = 1_000_000
_WORDS = re.compile(r"[\W\d_]+")


@register_format("webdataset")
def read_webdataset(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read the clips of shards.

    Args:
        source: A folder with .tar files, optionally in folders named after splits, or one .tar
            file.
        media: Must be empty: the shards contain the media.

    Raises:
        InputError: If there is no shard, or a record contradicts itself.
    """
    if media:
        raise InputError(
            "conflicting-options", "--media is for tables: shards contain their own media"
        )
    root = source if source.is_dir() else source.parent
    class_names = _class_names(root / CLASS_NAMES)
    clips: list[Clip] = []
    notes: list[str] = []
    left_out: Counter[str] = Counter()
    paths = list(find_shards(source))
    names = [path.relative_to(root).as_posix() for path in paths]
    splits = _splits_of_shards(names, f"source {source}")
    for path, where in zip(paths, names, strict=True):
        index = read_index(path)
        if index.damage:
            notes.append(f"shard {where} is damaged ({index.damage}): it was read up to the damage")
        if index.refused:
            left_out["links or have names that leave their shard"] += len(index.refused)
        clips += _clips(index, where, root, class_names, splits.get(where), left_out)
    if not paths:
        raise InputError(
            "file-missing", f"source {source} contains no .tar file: give the folder of the shards"
        )
    if not clips:
        why = "; ".join(notes + [f"{n} files {what}" for what, n in left_out.items()])
        raise InputError(
            "no-clips",
            f"the {len(paths)} shards of {source} contain no clip ({why or 'they are empty'}): a "
            "clip is KEY.mp4, or KEY.wav and KEY.jpg, with KEY.json or KEY.cls",
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
    split: str | None,
    left_out: Counter[str],
) -> list[Clip]:
    """Return the clips of a shard in its order; the split is empty if it is unknown."""
    groups: dict[str, dict[str, str]] = {}
    for name in index.members:
        key, extension = key_of(name)
        groups.setdefault(key, {})[extension.lower()] = name
    clips = []
    for key, files in groups.items():
        media, unused = _media(index, files)
        left_out["are not needed in addition to the others of their key"] += unused
        row = _row(index, files, f"{where}/{key}", class_names)
        if media is None or row.get("labels") in (None, "", []):
            what = "KEY.json or KEY.cls" if media else "video or audio of the same key"
            left_out[f"have no {what}"] += len(files)
            continue
        row.setdefault("split", split or "train")
        row["path"] = f"{where}/{media}"
        clip = clip_of_row(row, f"{where}/{key}", [root])
        place = escape_name(f"{where.removesuffix('.tar')}/{key}")
        own = row.get("id") or clip_id(place, clip.start_s, clip.end_s)
        name = relative_inside(str(own).replace("\n", " "), [root], f"{where}/{key}.json")
        has_source = not is_missing(row.get("source"))
        clip = replace(clip, id=name, source=clip.source if has_source else name.partition("@")[0])
        clips.append(clip if "given" in row or split else replace(clip, split=""))
    left_out += Counter()  # without zeros
    return clips


def _media(index: ShardIndex, files: Mapping[str, str]) -> tuple[str | None, int]:
    """Return the name of the media to decode, and the number of unused files."""
    kinds: dict[str, list[str]] = {"video": [], "audio": [], "picture": []}
    others = []
    for extension in sorted(files):
        suffix = "." + extension.rpartition(".")[2]
        for kind, suffixes in (
            ("video", VIDEO_SUFFIXES),
            ("audio", AUDIO_SUFFIXES),
            ("picture", _PICTURES),
        ):
            if suffix in suffixes:
                kinds[kind].append(extension)
                break
        else:
            others.append(extension)
    if not kinds["video"] and not kinds["audio"]:
        for extension in others:
            if found := _kind_of_member(index, files[extension]):
                kinds[found].append(extension)
    num_media = sum(map(len, kinds.values()))
    if kinds["video"]:
        return files[kinds["video"][0]], num_media - 1
    if kinds["audio"] and kinds["picture"]:
        audio = key_of(files[kinds["audio"][0]])[1]
        return f"{files[kinds['picture'][0]]}+{audio}", num_media - 2
    if kinds["audio"]:
        return files[kinds["audio"][0]], num_media - 1
    return None, 0


def _kind_of_member(index: ShardIndex, name: str) -> str | None:
    """Return the kind of a member with an unknown suffix, by its content."""
    if is_text(index.read(name, 4096)):
        return None
    with as_file(index.path / name) as path:
        return kind_of(path)


def _row(
    index: ShardIndex, files: Mapping[str, str], where: str, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the columns of a clip, from its record or its class file."""
    row: dict[str, Any] = {}
    if "json" in files:
        text = index.read(files["json"], _LARGEST_RECORD)
        try:
            row = parse_json(text)
            if not isinstance(row, dict):
                raise ValueError("it is not an object")
        except (ValueError, RecursionError) as error:
            raise InputError(
                "file-unreadable", f"{where}.json cannot be read ({error}): correct it"
            ) from None
        row.setdefault("labels", row.get("label"))
        if row.get("split"):
            row["given"] = True
        else:
            row.pop("split", None)
    if row.get("labels") in (None, "", []) and "cls" in files:
        text = index.read(files["cls"], _LARGEST_RECORD)
        row["labels"] = [label_text(_class_of(text, f"{where}.cls", class_names))]
    return row


def _class_of(text: bytes, where: str, class_names: tuple[str, ...]) -> str:
    try:
        name = text.decode().strip()
    except UnicodeDecodeError:
        raise InputError(
            "file-unreadable", f"{where} is not UTF-8: write the class's name or number"
        ) from None
    if not (name.isdecimal() and class_names):
        return name
    if int(name) >= len(class_names):
        raise InputError(
            "bad-list",
            f"{where} is {name}, but {CLASS_NAMES} has only {len(class_names)} classes: correct it",
        )
    return class_names[int(name)]


def _class_names(path: Path) -> tuple[str, ...]:
    """Read the classes in their order, one per line; empty without the file."""
    if not path.is_file():
        return ()
    names = tuple(
        check_label(line, f"{path} line {number}")
        for number, line in enumerate(read_lines(path, "list of classes"), 1)
    )
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InputError(
            "bad-list", f"{path} names class {repeated[0]!r} twice: name each class once"
        )
    return names


def _splits_of_shards(names: Sequence[str], what: str) -> dict[str, str]:
    """Return the split in each shard's name or folder (``train-000000.tar``, ``Val/0.tar``).

    A name may begin with its split. A split elsewhere in a name, as in ``cc3m-train-0.tar`` and
    ``cc3m-test-0.tar``, is recognised if the names contain several splits.
    """
    begins = {name: _first_word(name, begin=True) for name in names}
    inside = {name: _first_word(name, begin=False) for name in names}
    words = {word for word in inside.values() if word is not None}
    several = len({split_word(word) for word in words}) > 1
    word_of = {name: begins[name] or (inside[name] if several else None) for name in names}
    # Use one spelling of each split: different spellings in one folder are the same split.
    spelling = {split_word(word): word for word in word_of.values() if word}
    splits = splits_of(spelling.values(), what)
    return {name: splits[spelling[split_word(word)]] for name, word in word_of.items() if word}


def _first_word(name: str, *, begin: bool) -> str | None:
    """Return the word of a path that names a split, searching the file name first."""
    for part in reversed(Path(name).with_suffix("").parts):
        words = [word for word in _WORDS.split(part) if word]
        for word in words[:1] if begin else words:
            if split_word(word):
                return word
    return None


def _with_splits(clips: list[Clip], source: Path) -> list[Clip]:
    """Split clips without known splits 70 / 10 / 20 %, as `read_folders` does."""
    without = [clip for clip in clips if not clip.split]
    if not without:
        return clips
    if len(without) < len(clips):
        raise InputError(
            "bad-list",
            f"clip {without[0].id} of {source} has no split, but others have one: give it in "
            "KEY.json, or in the shard's name, as in train-000000.tar",
        )
    return divide([replace(c, split="train") for c in clips], {"val": 0.1, "test": 0.2})
