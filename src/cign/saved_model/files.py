"""The files of a MODEL folder and of its versions. An interrupted change leaves a valid model.

A version is written to ``versions/N``, itself a MODEL folder, and then becomes the current one: its
files are hard-linked over those of the folder, ``model.json`` last. That file names the current
version. If a writer is interrupted before it, the folder mixes files of the next version with the
old description; the old files are then read from their version folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.saved_model.schema import check_about
from cign.utils.files import read_json, replacing

FORMAT = 2
WEIGHTS, KEPT, CARD, ABOUT = "model.safetensors", "kept.safetensors", "README.md", "model.json"
DATA = (WEIGHTS, KEPT)
VERSIONS = "versions"
MOST_BYTES = 2**26  # largest model.json
_TRIES = 3


def model_place(folder: Path) -> Path:
    """The MODEL folder: the folder itself, or ``model`` in a RUN."""
    inner = folder / "model"
    return inner if (inner / ABOUT).is_file() else folder


def is_of_run(place: Path) -> bool:
    """Whether a MODEL folder belongs to a RUN, whose metrics describe it."""
    place = place.resolve()
    return place.name == "model" and (place.parent / "metrics.json").is_file()


def version_folder(place: Path, number: int) -> Path:
    """The folder of a version."""
    return place / VERSIONS / str(number)


def version_numbers(place: Path) -> list[int]:
    """Numbers of the versions in the folder, in ascending order."""
    found = (place / VERSIONS).glob("[0-9]*")
    return sorted(int(path.name) for path in found if path.name.isdigit())


def number_of(about: dict[str, Any]) -> int:
    """Version number of a description; 1 for a model that was never changed."""
    return int(about.get("version", 1))


def read_about(place: Path) -> dict[str, Any]:
    """Read ``model.json``.

    Raises:
        InputError: If it is missing, damaged, of another version, or invalid
            (`cign.saved_model.schema`).
    """
    path = place / ABOUT
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"model {path} has more than {MOST_BYTES} bytes, the maximum for a description: "
            "restore or recreate it"
        )
    about = read_json(path, "model")
    version = about.get("format") if isinstance(about, dict) else None
    if type(version) is int and version > FORMAT:
        raise InputError(
            f"model {place} has format {version}, this version reads up to {FORMAT}: update cign"
        )
    if type(version) is int and version < FORMAT:
        method = about.get("method")
        raise InputError(
            f"model {place} has format {version} of an earlier version of cign, this one reads "
            f"{FORMAT}: train it again with `cign train STORE --out RUN --method {method}`"
        )
    return check_about(about, f"model {path}")


def read_model_files(place: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read the description and the data files with checksums, all from one version.

    Raises:
        InputError: If a file is missing, or its checksum does not match.
    """
    for attempt in range(_TRIES):
        about = read_about(place)
        try:
            guarded = [name for name in DATA if name in about["checksums"]]
            return about, {name: _intact(place, about, name) for name in guarded}
        except InputError:
            # Another process may have switched to a new version in between.
            if attempt == _TRIES - 1 or read_about(place) == about:
                raise
    raise AssertionError("unreachable")


def _intact(place: Path, about: dict[str, Any], name: str) -> bytes:
    """The bytes of a file, checked against the checksum in the description."""
    expected = about["checksums"][name]
    try:
        data = (place / name).read_bytes()
    except FileNotFoundError:
        raise InputError(f"model {place} lacks {name}: restore the folder") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest == expected:
        return data
    own = version_folder(place, number_of(about)) / name
    if _belongs_to_a_version(place, name, digest) and own.is_file():
        data = own.read_bytes()
        if hashlib.sha256(data).hexdigest() == expected:
            return data
    raise InputError(
        f"model {place} was changed or damaged: the checksum of {name} does not match; restore "
        "the folder"
    )


def _belongs_to_a_version(place: Path, name: str, digest: str) -> bool:
    """Whether a file is from another version: a change was interrupted, nothing is damaged."""
    for number in version_numbers(place):
        path = version_folder(place, number) / ABOUT
        if path.is_file() and read_about(path.parent)["checksums"].get(name) == digest:
            return True
    return False


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------- writing: the caller holds the folder's lock


def stage_version(place: Path, number: int, write: Callable[[Path], None]) -> None:
    """Write a version under a temporary name, and rename it when complete."""
    final = version_folder(place, number)
    staging = final.with_name(f".{number}.tmp")
    remove_folder(staging)
    staging.mkdir(parents=True)
    write(staging)
    staging.rename(final)


def point_to(place: Path, number: int) -> None:
    """Make a version current; readers see the old one until ``model.json`` is replaced."""
    version = version_folder(place, number)
    for name in (WEIGHTS, KEPT, CARD, ABOUT):
        if (version / name).is_file():
            _link(version / name, place / name)
    if not (version / KEPT).is_file():
        (place / KEPT).unlink(missing_ok=True)


def tidy(place: Path) -> int:
    """Remove leftovers of an interrupted change, and store the current version among the versions.

    Returns:
        The number of the current version.

    Raises:
        InputError: If the model is damaged; nothing is changed then.
    """
    about, _ = read_model_files(place)
    number = number_of(about)
    own = version_folder(place, number)
    is_stored = (own / ABOUT).is_file() and checksum(own / ABOUT) == checksum(place / ABOUT)
    if is_stored:
        for name, expected in about["checksums"].items():
            if checksum(place / name) != expected:
                _link(own / name, place / name)
        _link(own / CARD, place / CARD)
    for left in place.glob(".*.tmp"):
        left.unlink()
    if not is_stored:
        remove_folder(own)
        stage_version(place, number, lambda staging: _link_files(place, staging))
    for other in (place / VERSIONS).iterdir():
        if other.name.startswith(".") or (other.name.isdigit() and int(other.name) > number):
            remove_folder(other)
    return number


def remove_folder(folder: Path) -> None:
    """Remove a folder, model.json first, so that a partly removed one never counts as a version."""
    (folder / ABOUT).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _link_files(source: Path, target: Path) -> None:
    for name in (WEIGHTS, KEPT, CARD, ABOUT):
        if (source / name).is_file():
            _link(source / name, target / name)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file to a second path, or copy it if the file system has no hard links."""
    if target.exists() and target.samefile(source):
        return  # renaming over a hard link of the same file would leave both names
    try:
        with replacing(target, flush=False) as temporary:
            os.link(source, temporary)
    except OSError:
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
