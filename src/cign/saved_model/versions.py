"""Versions of a MODEL folder: a change makes a new one, the earlier ones are kept.

How a change stays whole when it is stopped: `cign.saved_model.files`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cign.errors import InputError
from cign.saved_model.files import (
    ABOUT,
    CARD,
    WEIGHTS,
    checksum,
    is_of_run,
    model_place,
    number_of,
    point_to,
    read_about,
    read_model_files,
    remove_folder,
    stage_version,
    tidy,
    version_folder,
    version_numbers,
)
from cign.saved_model.hub import hub_name, local_place
from cign.utils.files import folder_lock

if TYPE_CHECKING:
    from cign.saved_model.model import Model


@dataclass(frozen=True, kw_only=True)
class Version:
    """What is told of a version.

    Attributes:
        number: From 1 on.
        date: When it was made; empty for a model as it was learned.
        text: What was changed.
        num_classes: Classes it knows.
        num_kept: Clips kept with it.
        is_current: Whether it is the one that answers.
    """

    number: int
    date: str
    text: str
    num_classes: int
    num_kept: int
    is_current: bool


def list_versions(folder: Path) -> list[Version]:
    """The versions of a model that still lie in its folder, the earliest first.

    Raises:
        InputError: If there is no model, or a description is damaged.
    """
    place = model_place(folder)
    current = number_of(read_about(place))
    places = {
        number: version_folder(place, number)
        for number in version_numbers(place)
        if number < current and (version_folder(place, number) / ABOUT).is_file()
    }
    found: list[Version] = []
    told: list[dict[str, str]] = []  # what the version before tells of
    for number, where in [*places.items(), (current, place)]:
        about = read_about(where)
        changes = about.get("changes", [])
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(told, changes, strict=False)
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
            )
        )
        told = changes
    return found


def publish(model: Model, place: Path) -> int:
    """Write a changed model as the next version of its folder, and make it the current one.

    Args:
        model: The model.
        place: Its MODEL folder, whose lock the caller holds.

    Returns:
        The number of the new version.

    Raises:
        InputError: If the model in the folder is damaged.
    """
    number = tidy(place) + 1
    stage_version(place, number, lambda staging: _save(model, staging, number))
    point_to(place, number)
    return number


def save_or_publish(model: Model, place: Path, seen: str | None = None) -> None:
    """Write a MODEL folder; where one lies already, as its next version.

    Args:
        model: The model.
        place: The folder.
        seen: Checksum of the description that lay there when the model was read; None if it was
            not read there.

    Raises:
        InputError: If the folder is a run's, holds a page that no model wrote, was changed since
            the model was read, or is being changed, or if what lies there is damaged.
    """
    if is_of_run(place) or (place / "metrics.json").is_file():
        raise InputError(
            f"{place} belongs to a run, whose metrics are those of its model: name another folder"
        )
    if not (place / ABOUT).is_file():
        if (place / CARD).exists() and not (place / WEIGHTS).exists():
            raise InputError(f"{place} holds a {CARD} that is no model's: name another folder")
        _save(model, place)
        return
    with folder_lock(place, "model"):
        if seen is not None and checksum(place / ABOUT) != seen:
            raise InputError(
                f"model {place} was changed since it was loaded: load it again and repeat the "
                "change, or name another folder"
            )
        publish(model, place)


def undo(folder: Path) -> int:
    """Make the version before the current one the current one, and drop the later.

    Returns:
        Its number.

    Raises:
        InputError: If there is none, it is damaged, or the folder is in use.
    """
    place = model_place(folder)
    read_about(place)  # before a lock is made where no model lies
    with folder_lock(place, "model"):
        number = number_of(read_about(place))
        earlier = version_folder(place, number - 1)
        if not (earlier / ABOUT).is_file():
            raise InputError(
                f"model {place} has no version before {number}: `cign versions {place}` lists "
                "those it has"
            )
        tidy(place)
        read_model_files(earlier)
        point_to(place, number - 1)
        remove_folder(version_folder(place, number))
        return number - 1


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """A model that is being changed.

    Attributes:
        place: The MODEL folder that is read, locked if it is the one that is written.
        out: The folder for a changed copy; None changes the model in place.
    """

    place: Path
    out: Path | None

    def keep(self, model: Model) -> str:
        """Write the changed model; gives a sentence about where it is."""
        if self.out is not None:
            _save(model, self.out)
            return f"{self.out}: {len(model.classes)} classes; {self.place} is as it was"
        number = publish(model, self.place)
        return (
            f"{self.place}: version {number}, {len(model.classes)} classes; "
            f"`cign versions {self.place} --undo` goes back"
        )


@contextmanager
def changing(folder: Path, out: Path | None) -> Iterator[Workplace]:
    """Hold a model while it is changed.

    Args:
        folder: A MODEL, or a RUN where ``out`` is given.
        out: A new folder for a changed copy.

    Raises:
        InputError: If there is no model, it is a run's and no copy is asked for, the folder for
            the copy holds something, or another process holds the model.
    """
    if out is None and hub_name(folder):
        raise InputError(f"{folder} lies on the hub: name a folder for a changed copy with --out")
    place = model_place(local_place(folder))
    read_about(place)
    if out is None:
        if is_of_run(place):
            raise InputError(
                f"{folder} belongs to a run, whose metrics are those of its model: name a folder "
                "for a changed copy with --out"
            )
        with folder_lock(place, "model"):
            yield Workplace(place=place, out=None)
        return
    if out.exists() and (not out.is_dir() or any(p.name != ".lock" for p in out.iterdir())):
        raise InputError(f"--out {out} is not empty: name a new folder")
    was_there = out.exists()
    try:
        with folder_lock(out, "folder"):
            yield Workplace(place=place, out=out)
    finally:
        if not was_there and out.is_dir() and [p.name for p in out.iterdir()] == [".lock"]:
            remove_folder(out)  # nothing came of it


def _save(model: Model, folder: Path, number: int = 1) -> None:
    """Write a model; what does it takes seconds to import, which listing versions need not wait."""
    from cign.saved_model.folder import save_model

    save_model(model, folder, number)
