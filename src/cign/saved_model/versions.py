"""Versions of a MODEL folder: each change adds a version; earlier ones are preserved.

`cign.saved_model.files` describes how an interrupted change leaves a valid model.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cign.errors import InputError
from cign.saved_model.files import (
    ABOUT,
    CARD,
    CURRENT,
    VERSIONS,
    WEIGHTS,
    add_version,
    current_number,
    folder_in_use,
    has_model,
    is_of_run,
    model_place,
    point_to,
    read_about,
    read_model_files,
    state_of,
    tidy,
    version_folder,
    version_numbers,
)
from cign.saved_model.hub import hub_name, local_place
from cign.utils.files import folder_lock
from cign.utils.wording import counted

if TYPE_CHECKING:
    from cign.saved_model.model import Model


@dataclass(frozen=True, kw_only=True)
class Version:
    """Description of a version.

    Attributes:
        number: Version number, from 1.
        date: Date of the change; empty for the originally trained model.
        text: What was changed.
        num_classes: Number of classes.
        num_kept: Number of stored validation clips.
        is_current: Whether it is the version in use.
        background: Number of learned clips with none of the classes.
    """

    number: int
    date: str
    text: str
    num_classes: int
    num_kept: int
    is_current: bool
    background: float = 0


def list_versions(folder: Path) -> list[Version]:
    """The versions in a model's folder, earliest first.

    Raises:
        InputError: If there is no model, or a description is damaged.
    """
    place = model_place(folder)
    read_about(place)
    *earlier, current = version_numbers(place)
    found: list[Version] = []
    previous: list[dict[str, str]] = []  # changes listed by the previous version
    for number in [*earlier, current]:
        where = folder_in_use(place) if number == current else version_folder(place, number)
        about = read_about(where)
        changes = about.get("changes", [])
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(previous, changes, strict=False)
        )
        own = changes[sum(1 for _ in same) :] if found else changes[-1:]
        found.append(
            Version(
                number=number,
                date=own[-1]["date"] if own else "",
                text="; ".join(change["text"] for change in own)
                or ("saved again" if found else "learned"),
                num_classes=len(about["classes"]),
                num_kept=(about.get("kept") or {}).get("num_clips", 0),
                is_current=number == current,
                background=counted(about.get("background", 0)),
            )
        )
        previous = changes
    return found


def publish(model: Model, place: Path) -> int:
    """Save a changed model as the next version of its folder, and make it current.

    Args:
        model: The model.
        place: Its MODEL folder; the caller holds its lock.

    Returns:
        The number of the new version.

    Raises:
        InputError: If the model in the folder is damaged.
    """
    number = tidy(place) + 1
    add_version(place, number, lambda staging: _save(model, staging))
    return number


def save_or_publish(model: Model, place: Path, seen: str | None = None) -> None:
    """Write a MODEL folder; an existing one gets a new version.

    Args:
        model: The model.
        place: The folder.
        seen: `state_of` the folder when the model was read; None if it was read from elsewhere.

    Raises:
        InputError: If the folder belongs to a run or is a version, has a README.md that is not a
            model card, was changed since the model was read, is being changed, or is damaged.
    """
    if is_of_run(place) or (place / "metrics.json").is_file():
        raise InputError(
            "bad-output",
            f"{place} belongs to a run, whose metrics are those of its model: name another folder",
        )
    _refuse_version(place)
    if not has_model(place):
        if (place / CARD).exists() and not (place / WEIGHTS).exists():
            raise InputError(
                "bad-output",
                f"{place} contains a {CARD} that is not a model card: name another folder",
            )
        _save(model, place)
        return
    with folder_lock(place, "model"):
        if seen is not None and state_of(place) != seen:
            raise InputError(
                "model-changed",
                f"model {place} was changed since it was loaded: load it again and repeat the "
                "change, or name another folder",
            )
        publish(model, place)


def undo(folder: Path) -> int:
    """Revert to the previous version and delete the current one.

    Returns:
        The number of the version that is now current.

    Raises:
        InputError: If there is no previous version, it is damaged, or the folder is in use.
    """
    place = model_place(folder)
    read_about(place)  # before a lock file is created in a folder without a model
    with folder_lock(place, "model"):
        number = current_number(place) or 1
        earlier = version_folder(place, number - 1)
        if not (earlier / ABOUT).is_file():
            raise InputError(
                "unknown-name",
                f"model {place} has no version before {number}: `cign versions {place}` lists "
                "those it has",
            )
        read_model_files(earlier)
        point_to(place, number - 1)
        tidy(place)
        return number - 1


def prune(folder: Path) -> list[int]:
    """Delete all versions before the current one.

    Returns:
        Their numbers.

    Raises:
        InputError: If there is no model, it is one version of a model, or the folder is in use.
    """
    place = model_place(folder)
    read_about(place)
    _refuse_version(place)
    with folder_lock(place, "model"):
        earlier = version_numbers(place)[:-1]
        for number in earlier:
            shutil.rmtree(version_folder(place, number))
        tidy(place)
    return earlier


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """A model during a change.

    Attributes:
        place: The MODEL folder that is read; locked if it is also written.
        out: The folder for a changed copy; None changes the model in place.
    """

    place: Path
    out: Path | None

    def keep(self, model: Model) -> str:
        """Save the changed model; returns a sentence about its location."""
        if self.out is not None:
            _save(model, self.out)
            return f"{self.out}: {len(model.classes)} classes; {self.place} is unchanged"
        number = publish(model, self.place)
        return (
            f"{self.place}: version {number}, {len(model.classes)} classes; "
            f"`cign versions {self.place} --undo` reverts the change"
        )


@contextmanager
def changing(folder: Path, out: Path | None) -> Iterator[Workplace]:
    """Lock a model during a change.

    Args:
        folder: A MODEL, or a RUN if ``out`` is given.
        out: A new folder for a changed copy.

    Raises:
        InputError: If there is no model, it belongs to a run or is a version and ``out`` is not
            given, ``out`` is not empty, or another process has locked the model.
    """
    if out is None and hub_name(folder):
        raise InputError(
            "bad-output", f"{folder} is on the hub: name a folder for a changed copy with --out"
        )
    place = model_place(local_place(folder))
    read_about(place)
    if out is None:
        if is_of_run(place):
            raise InputError(
                "bad-output",
                f"{folder} belongs to a run, whose metrics are those of its model: name a folder "
                "for a changed copy with --out",
            )
        _refuse_version(place)
        with folder_lock(place, "model"):
            yield Workplace(place=place, out=None)
        return
    if out.exists() and (not out.is_dir() or any(p.name != ".lock" for p in out.iterdir())):
        raise InputError("bad-output", f"--out {out} is not empty: name a new folder")
    existed = out.exists()
    try:
        with folder_lock(out, "folder"):
            yield Workplace(place=place, out=out)
    finally:
        if not existed and out.is_dir() and [p.name for p in out.iterdir()] == [".lock"]:
            shutil.rmtree(out)  # no copy was written


def _refuse_version(place: Path) -> None:
    """Refuse to change one version of a model: undo would then not restore it."""
    parent, model = place.resolve().parent, place.resolve().parent.parent
    if parent.name == VERSIONS and (model / CURRENT).is_file():
        raise InputError(
            "bad-output",
            f"{place} is a version of model {model}: change that model, or name another folder for "
            "a changed copy",
        )


def _save(model: Model, folder: Path) -> None:
    """Write a model. Imported here because the import is slow and listing does not need it."""
    from cign.saved_model.folder import save_model

    save_model(model, folder)
