"""Write a list of clips, with their media, as shards."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cign.data.arrays import disk_errors
from cign.data.clips import Clip, ClipTable
from cign.data.formats.label_texts import label_texts
from cign.data.formats.webdataset import CLASS_NAMES
from cign.data.shards import key_of, media_exists, shard_of
from cign.errors import InputError
from cign.utils.files import replacing, write_text
from cign.utils.progress import Progress
from cign.vocabulary import SPLITS

SYNTH = "synth.json"


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """Report on written shards.

    Attributes:
        num_shards: Number of tar files.
        num_clips: Number of clips in them.
        missing: Ids of clips that were left out because their file is missing.
    """

    num_shards: int
    num_clips: int
    missing: tuple[str, ...]


def write_shards(
    table: ClipTable, folder: Path, per_shard: int, progress: Progress, synth: Path | None = None
) -> ShardReport:
    """Write ``SPLIT-NNNNNN.tar`` with each clip's unchanged file and its record as KEY.json.

    The same list gives bit-exact equal shards; shards of an earlier attempt are overwritten.

    Args:
        table: The list.
        folder: Folder of the shards.
        per_shard: Clips per shard.
        progress: Notified of every clip.
        synth: Record of the clips' synthetic corpus, copied next to the shards.

    Raises:
        InputError: If the folder contains other files, or no clip's file exists.
        RunError: If the disk is full.
    """
    missing = tuple(clip.id for clip in table.clips if not media_exists(clip.path))
    available = [clip for clip in table.clips if clip.id not in set(missing)]
    if not available:
        raise InputError(
            "no-clips", f"none of the {len(table.clips)} listed files exists: check --media"
        )
    plan = list(_plan(available, per_shard))
    _check_folder(folder, {name for name, _ in plan})
    progress.start("writing shards", len(available))
    number = 0
    with disk_errors(folder):
        for name, clips in plan:
            with replacing(folder / name) as temporary, tarfile.open(temporary, "w") as tar:
                for clip in clips:
                    for member, content in _members(clip, f"{number:09d}"):
                        info = tarfile.TarInfo(member)
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
                    number += 1
                    progress.advance()
        write_text(folder / CLASS_NAMES, "".join(f"{name}\n" for name in table.class_names))
        if synth is not None and synth.is_file():
            write_text(folder / SYNTH, synth.read_text(encoding="utf-8"))
    progress.stop()
    return ShardReport(num_shards=len(plan), num_clips=len(available), missing=missing)


def _plan(clips: list[Clip], per_shard: int) -> Iterator[tuple[str, list[Clip]]]:
    """Yield the name and clips of each shard, one split after another."""
    for split in SPLITS:
        own = [clip for clip in clips if clip.split == split]
        for i in range(0, len(own), per_shard):
            yield f"{split}-{i // per_shard:06d}.tar", own[i : i + per_shard]


def _check_folder(folder: Path, names: set[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError("bad-output", f"{folder} is a file: give a folder for the shards")
    allowed = names | {CLASS_NAMES, SYNTH}
    others = [p.name for p in folder.iterdir() if p.name not in allowed] if folder.exists() else []
    if others:
        raise InputError(
            "bad-output",
            f"folder {folder} contains {min(others)!r}, which is not a shard of this list: give a "
            "new folder",
        )


def _members(clip: Clip, key: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a clip: its media and its record."""
    inside = None if clip.path.is_file() else shard_of(clip.path)
    if inside is None:
        yield f"{key}{clip.path.suffix.lower()}", clip.path.read_bytes()
    else:
        shard, names = inside
        for name in names:
            yield f"{key}.{key_of(name)[1]}", shard.read(name)
    text = json.dumps(_record(clip), ensure_ascii=False, allow_nan=False)
    yield f"{key}.json", text.encode()


def _record(clip: Clip) -> dict[str, Any]:
    """Return the table columns of a clip that have a value."""
    values: dict[str, Any] = {
        "id": clip.id,
        "labels": list(label_texts(clip)),
        "split": clip.split,
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "source": clip.source,
        "box": [list(box) for box in clip.boxes] or None,
        "sound_start_s": [start for start, _ in clip.sounds] or None,
        "sound_end_s": [end for _, end in clip.sounds] or None,
        "audio_present": clip.audio_present,
        "visual_present": clip.visual_present,
        "weight": None if clip.weight == 1.0 else clip.weight,
    }
    return {name: value for name, value in values.items() if value is not None}
