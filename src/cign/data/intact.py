"""Check the integrity of a store: detect changes by a faulty disk or copy.

Opening a store checks only shapes. This module reads all data, once before a run learns from it:
it compares ``clips.parquet`` and cached tokens with the checksums that were recorded when they
were written, and frames and audio with the hash of each clip's decoded content.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cign.data.clip_file import read_clips
from cign.data.media.decode import content_hash
from cign.data.store import Store
from cign.data.tokens import tokens_folder
from cign.errors import InputError
from cign.utils.files import read_json, write_json

CHECKSUMS = "checksums.json"
LIST = "clips.parquet"
TOKEN_FILES = ("audio.npy", "visual.npy")


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Record the checksums of finished tokens in their folder."""
    write_json(folder / CHECKSUMS, {name: checksum(folder / name) for name in TOKEN_FILES})


def check_list(store: Store) -> None:
    """Check the list of a store's clips; stores of versions without checksums pass.

    Raises:
        InputError: If the list was changed after it was written.
    """
    recorded = store.info.get("checksums")
    learned = {n for c in store.table.clips if c.split != "unknown" for n in c.labels}
    is_known = recorded is None or (
        isinstance(recorded, dict) and recorded.get(LIST) == checksum(store.folder / LIST)
    )
    if not is_known or not learned <= set(store.class_names):
        raise InputError(
            "damaged",
            f"store {store.folder} is damaged: clips.parquet or store.json was changed after it "
            "was written; restore them, or prepare again into a new folder",
        )


def check_tokens(store: Store, backbone: str) -> bool:
    """Check the cached tokens of a backbone, and the list of their clips.

    Returns:
        Whether checksums are recorded; False for tokens of an earlier version.

    Raises:
        InputError: If any byte was changed after it was written.
    """
    check_list(store)
    place = tokens_folder(store.folder, backbone)
    if not (place / CHECKSUMS).exists():
        return False
    recorded: dict[str, Any] = read_json(place / CHECKSUMS, "checksums of the tokens")
    for name in TOKEN_FILES:
        if recorded.get(name) != checksum(place / name):
            raise InputError(
                "damaged",
                f"token cache {place} is damaged: the checksum of {name} does not match; restore "
                "it, or remove that folder and run `cign prepare` again",
            )
    return True


def check_media(store: Store) -> None:
    """Check frames and audio of every clip, and the list of the clips.

    Raises:
        InputError: If content differs from what was decoded; the message names the first clip.
    """
    check_list(store)
    _, columns = read_clips(store.folder / LIST)
    wrong = []
    for index, clip in enumerate(store.table.clips):
        found = content_hash(
            store.frames([index])[0],
            store.audio([index])[0],
            bool(store.audio_ok[index]),
            bool(store.visual_ok[index]),
        )
        if found != columns["content_hash"][index]:
            wrong.append(clip.id)
    if wrong:
        raise InputError(
            "damaged",
            f"store {store.folder} is damaged: frames or audio of {len(wrong)} clips were changed "
            f"after decoding, for example {wrong[0]}; restore it, or prepare again into a new "
            "folder",
        )
