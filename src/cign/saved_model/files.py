"""The files of a MODEL folder and of its versions. An interrupted change leaves a valid model.

A model that was never changed has its files in the folder itself. The first change moves them to
``versions/1``; each version then has a folder ``versions/N``, and the file ``CURRENT`` holds the
number of the one in use. A new version is complete and on disk before ``CURRENT`` is replaced, so
that readers, who read it once, find all files of one version. Versions above ``CURRENT`` are
leftovers of interrupted changes, which the next change removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.saved_model.schema import check_about
from cign.utils.files import read_json, replacing, sync_folder, write_text

FORMAT = 7
OLDEST = 6  # in it, symmetric matrices are stored in full
WEIGHTS, KEPT, CARD, ABOUT = "model.safetensors", "kept.safetensors", "README.md", "model.json"
DATA = (WEIGHTS, KEPT)
VERSIONS, CURRENT = "versions", "CURRENT"
MOST_BYTES = 2**26  # largest model.json
_NUMBER = re.compile("[1-9][0-9]{0,8}")


def has_model(folder: Path) -> bool:
    """Whether a folder is a MODEL."""
    return (folder / CURRENT).is_file() or (folder / ABOUT).is_file()


def model_place(folder: Path) -> Path:
    """The MODEL folder: the folder itself, or ``model`` in a RUN."""
    inner = folder / "model"
    return inner if has_model(inner) else folder


def is_of_run(place: Path) -> bool:
    """Whether a MODEL folder belongs to a RUN, whose metrics describe it."""
    place = place.resolve()
    return place.name == "model" and (place.parent / "metrics.json").is_file()


def version_folder(place: Path, number: int) -> Path:
    """The folder of a version."""
    return place / VERSIONS / str(number)


def current_number(place: Path) -> int | None:
    """Number of the version in use; None for a model that was never changed.

    Raises:
        InputError: If ``CURRENT`` is damaged.
    """
    try:
        text = (place / CURRENT).read_text(encoding="utf-8", errors="replace").removesuffix("\n")
    except FileNotFoundError:
        return None
    if not _NUMBER.fullmatch(text):
        raise InputError(
            "damaged",
            f"model {place}: {CURRENT} must hold the number of a folder in {place / VERSIONS}: "
            "write it there, or restore the folder",
        )
    return int(text)


def folder_in_use(place: Path) -> Path:
    """The folder with the files of the version in use."""
    number = current_number(place)
    return place if number is None else version_folder(place, number)


def version_numbers(place: Path) -> list[int]:
    """Numbers of the versions up to the one in use, in ascending order."""
    current = current_number(place) or 1
    names = (path.parent.name for path in (place / VERSIONS).glob(f"*/{ABOUT}"))
    found = {int(name) for name in names if _NUMBER.fullmatch(name)}
    return [*sorted(number for number in found if number < current), current]


def state_of(place: Path) -> str | None:
    """Checksum of the description in use, which every change alters; None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return checksum(folder_in_use(place) / ABOUT)
    return None


def read_about(place: Path) -> dict[str, Any]:
    """Read ``model.json`` of the version in use.

    Raises:
        InputError: If it is missing, damaged, of another version, or invalid
            (`cign.saved_model.schema`).
    """
    path = folder_in_use(place) / ABOUT
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise InputError(
            "damaged",
            f"model {path} has more than {MOST_BYTES} bytes, the maximum for a description: "
            "restore or recreate it",
        )
    about = read_json(path, "model")
    version = about.get("format") if isinstance(about, dict) else None
    if type(version) is int and version > FORMAT:
        raise InputError(
            "wrong-version",
            f"model {place} has format {version}, this version reads up to {FORMAT}: update cign",
        )
    if type(version) is int and version < OLDEST:
        method = about.get("method")
        raise InputError(
            "wrong-version",
            f"model {place} has format {version} of an earlier version of cign, this one reads "
            f"{OLDEST} to {FORMAT}: train it again with `cign train STORE --out RUN --method "
            f"{method}`",
        )
    return check_about(about, f"model {path}")


def read_model_files(place: Path) -> tuple[Path, dict[str, Any], dict[str, bytes]]:
    """Read the description and the data files with checksums, all from one version.

    Returns:
        The folder of the version, the description and the files by name.

    Raises:
        InputError: If a file is missing, or its checksum does not match.
    """
    before = state_of(place)
    folder = folder_in_use(place)
    try:
        about = read_about(folder)
        guarded = [name for name in DATA if name in about["checksums"]]
        return folder, about, {name: _intact(folder, about, name) for name in guarded}
    except InputError:
        if state_of(place) == before:
            raise
    return read_model_files(place)  # another process removed the version in between


def _intact(folder: Path, about: dict[str, Any], name: str) -> bytes:
    """The bytes of a file, checked against the checksum in the description."""
    try:
        data = (folder / name).read_bytes()
    except FileNotFoundError:
        raise InputError("damaged", f"model {folder} lacks {name}: restore the folder") from None
    if hashlib.sha256(data).hexdigest() != about["checksums"][name]:
        raise InputError(
            "damaged",
            f"model {folder} was changed or damaged: the checksum of {name} does not match; "
            "restore the folder",
        )
    return data


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------- writing: the caller holds the folder's lock


def add_version(place: Path, number: int, write: Callable[[Path], None]) -> None:
    """Write a version under a temporary name, rename it when complete, and make it current.

    Args:
        place: The MODEL folder, without leftovers (`tidy`).
        number: The number after that of the current version.
        write: Writes and flushes the files to a given folder.
    """
    final = version_folder(place, number)
    staging = final.with_name(f".{number}.tmp")
    staging.mkdir(parents=True)
    write(staging)
    staging.rename(final)
    sync_folder(final.parent)
    point_to(place, number)


def point_to(place: Path, number: int) -> None:
    """Make a version current: readers see either the old number or the new one."""
    write_text(place / CURRENT, f"{number}\n")


def tidy(place: Path) -> int:
    """Prepare a MODEL folder for a change: remove leftovers, move an unchanged model to version 1.

    Returns:
        The number of the current version.

    Raises:
        InputError: If the model is damaged; nothing is changed then.
    """
    read_model_files(place)
    current = current_number(place)
    for left in place.glob(".*.tmp"):
        left.unlink()
    for path in (place / VERSIONS).glob("*"):
        is_later = _NUMBER.fullmatch(path.name) and int(path.name) > (current or 0)
        if is_later or path.name.startswith("."):
            shutil.rmtree(path)
    if current is None:
        add_version(place, 1, lambda staging: _copy_files(place, staging))
    if (place / ABOUT).is_file():  # last, so that an interrupted move is completed
        for name in (WEIGHTS, KEPT, CARD, ABOUT):
            (place / name).unlink(missing_ok=True)
    return current or 1


def _copy_files(source: Path, target: Path) -> None:
    for name in (WEIGHTS, KEPT, CARD, ABOUT):
        if (source / name).is_file():
            with replacing(target / name) as temporary:
                shutil.copyfile(source / name, temporary)
