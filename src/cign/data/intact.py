"""Whether a store still holds what was prepared: what a disk or a copy has changed is found.

Opening a store checks shapes alone. This reads everything, once before a run learns from it:
``clips.parquet`` and cached tokens against checksums that were recorded when they were written,
frames and sound against the hash of each clip's decoded content.
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
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Record the checksums of finished tokens beside them."""
    write_json(folder / CHECKSUMS, {name: checksum(folder / name) for name in TOKEN_FILES})


def check_list(store: Store) -> None:
    """Check the list of a store's clips; one made before checksums were recorded passes.

    Raises:
        InputError: If it is not the one that was written.
    """
    recorded = store.info.get("checksums")
    taught = {n for c in store.table.clips if c.split != "unknown" for n in c.labels}
    is_known = recorded is None or (
        isinstance(recorded, dict) and recorded.get(LIST) == checksum(store.folder / LIST)
    )
    if not is_known or not taught <= set(store.class_names):
        raise InputError(
            f"store {store.folder} is damaged: clips.parquet and store.json are not as they were "
            "written; restore them, or prepare again into a new folder"
        )


def check_tokens(store: Store, backbone: str) -> bool:
    """Check the cached tokens of a backbone, and the list of clips they belong to.

    Returns:
        Whether checksums are recorded: not with tokens that an earlier version made.

    Raises:
        InputError: If a byte is not as it was written.
    """
    check_list(store)
    place = tokens_folder(store.folder, backbone)
    if not (place / CHECKSUMS).exists():
        return False
    recorded: dict[str, Any] = read_json(place / CHECKSUMS, "checksums of the tokens")
    for name in TOKEN_FILES:
        if recorded.get(name) != checksum(place / name):
            raise InputError(
                f"token cache {place} is damaged: the checksum of {name} does not match; restore "
                "it, or remove that folder and run `cign prepare` again"
            )
    return True


def check_media(store: Store) -> None:
    """Check frames and sound of every clip, and the list of the clips.

    Raises:
        InputError: With the first clip whose content is not what was decoded.
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
            f"store {store.folder} is damaged: frames or sound of {len(wrong)} clips are not as "
            f"they were decoded, for example {wrong[0]}; restore it, or prepare again into a new "
            "folder"
        )
