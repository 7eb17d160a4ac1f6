"""Build the benchmark of real recordings from its public originals.

    python benchmarks/real.py work/originals work/real [--sets real24,real24_clutter,real24_duets]

The first folder holds the unpacked originals; their layout inside the four folders does not matter:

- ``caltech101``: Caltech-101, CC BY 4.0, https://data.caltech.edu/records/mzrjq-6wc02
- ``esc10``: ESC-10, CC BY 3.0, https://github.com/karolpiczak/ESC-10, or ESC-50, which includes it
- ``philharmonia``: Philharmonia Orchestra sound samples, CC BY-SA 3.0, all of the archives of
  https://philharmonia.co.uk/resources/sound-samples/; not to be sold as samples
- ``fsdd``: Free Spoken Digit Dataset, CC BY-SA 4.0,
  https://github.com/Jakobovski/free-spoken-digit-dataset

Each set becomes a folder with ``clips.csv``, a copy of its list in ``benchmarks/real``, that
``cign prepare`` reads. Existing clips are skipped, so an interrupted command can be repeated.
See docs/real.md.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import real_clips
from few_shot import write_few_shot
from real_clips import Image, Sound

from cign.data.media.side_by_side import Pause, num_threads, side_by_side
from cign.errors import InputError
from cign.synthetic.encode import save_mp4
from cign.utils.files import read_json, write_json, write_text
from cign.utils.leftovers import held_folder
from cign.utils.progress import Progress, Silent
from cign.utils.terminal import make_progress

LISTS = Path(__file__).parent / "real"
SETS = ("real24", "real24_clutter", "real24_duets")
FOLDERS = ("caltech101", "esc10", "philharmonia", "fsdd")
SUFFIXES = (".jpg", ".ogg", ".wav", ".mp3")
RECORD = "real.json"
VERSION = 1  # of the construction: clips of another version are not mixed with new ones

Row = Mapping[str, str]


def read_list(path: Path) -> list[dict[str, str]]:
    """Read the list of a set."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise InputError(
            "file-missing", f"list {path} not found: restore it from the repository"
        ) from None


def key_of(name: str) -> str:
    """Return the part of an original's name that identifies it in any layout of its folder.

    Caltech-101 repeats file names in its categories. ESC-50 has the recordings of ESC-10 as WAV
    with the class number appended: ``3-134049-A-1.wav`` for ``3-134049-A.ogg``.
    """
    folder, *parents, file = name.split("/")
    if folder == "caltech101":
        return f"{folder}/{parents[-1] if parents else ''}/{file}"
    if folder == "esc10":
        file = re.sub(r"(-\d+)?\.(ogg|wav)$", "", file)
    return f"{folder}/{file}"


class Originals:
    """The unpacked originals.

    Args:
        root: The folder with the folders of `FOLDERS`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _paths(self) -> dict[str, Path]:
        paths: dict[str, Path] = {}
        for folder in FOLDERS:
            for parent, folders, files in os.walk(self.root / folder, followlinks=True):
                folders.sort()
                for file in sorted(files):
                    if file.lower().endswith(SUFFIXES) and not file.startswith("."):
                        path = Path(parent, file)
                        paths.setdefault(key_of(path.relative_to(self.root).as_posix()), path)
        return paths

    def path(self, name: str) -> Path:
        """Return the path of an original."""
        return self._paths[key_of(name)]

    def check(self, names: set[str]) -> None:
        """Check that all originals exist.

        Raises:
            InputError: If originals are missing; the message counts them by folder.
        """
        missing = sorted(name for name in names if key_of(name) not in self._paths)
        if missing:
            folders = [name.split("/", 1)[0] for name in missing]
            counts = ", ".join(
                f"{folders.count(folder)} in {folder}" for folder in FOLDERS if folder in folders
            )
            raise InputError(
                "file-missing",
                f"{len(missing)} originals are missing in {self.root} ({counts}; for example "
                f"{missing[0]}): docs/real.md says where to download them",
            )


class Builder:
    """Builds the clips of all sets.

    Args:
        originals: The unpacked originals.
        solos: The list of real24, whose images and sounds the other sets combine.
    """

    def __init__(self, originals: Originals, solos: Sequence[Row]) -> None:
        self.originals = originals
        self.solos = {row["path"]: row for row in solos}

    def names(self, row: Row) -> set[str]:
        """Return the names of the originals that a clip needs."""
        parts = [self._solo(path) for path in (row.get("first"), row.get("second")) if path]
        parts = parts or [self._solo(row["path"])]
        names = {part[column] for part in parts for column in ("picture_file", "sound_file")}
        return names | {row["noise"], *row["others"].split("|")} if "noise" in row else names

    def _solo(self, path: str) -> Row:
        if path not in self.solos:
            raise InputError("bad-list", f"the list of real24 has no clip {path}: restore it")
        return self.solos[path]

    def clip(self, row: Row) -> tuple[Image, Sound]:
        """Return the image and the sound of a clip, by the columns of its list."""
        if "noise" in row:
            return self._clutter(row)
        if "first" in row:
            return self._duet(row)
        return (
            real_clips.read_image(self.originals.path(row["picture_file"])),
            real_clips.read_sound(self.originals.path(row["sound_file"])),
        )

    def _clutter(self, row: Row) -> tuple[Image, Sound]:
        solo, path = self._solo(row["path"]), self.originals.path
        others = [real_clips.read_tile(path(name)) for name in row["others"].split("|")]
        own = real_clips.read_tile(path(solo["picture_file"]))
        sounds = [real_clips.read_sound(path(name)) for name in (solo["sound_file"], row["noise"])]
        tile = real_clips.tile_of(row["box"])
        return real_clips.arrange(own, others, tile), real_clips.mix(*sounds)

    def _duet(self, row: Row) -> tuple[Image, Sound]:
        solos, path = [self._solo(row[name]) for name in ("first", "second")], self.originals.path
        images = [real_clips.read_tile(path(solo["picture_file"])) for solo in solos]
        sounds = [real_clips.read_sound(path(solo["sound_file"])) for solo in solos]
        return np.concatenate(images, axis=1), real_clips.mix(*sounds)


def build(
    list_path: Path, builder: Builder, out: Path, *, progress: Progress | None = None
) -> None:
    """Build a set, or resume an interrupted one.

    Args:
        list_path: The list of the set.
        builder: Builds its clips.
        out: The folder for the clips and ``clips.csv``.
        progress: Notified of the number of finished clips.

    Raises:
        InputError: If originals are missing, or ``out`` has clips of another list or construction.
    """
    progress = progress or Silent()
    rows = read_list(list_path)
    builder.originals.check({name for row in rows for name in builder.names(row)})
    text = list_path.read_text(encoding="utf-8")
    with held_folder(out, "the folder"):
        _claim(out, {"version": VERSION, "list": hashlib.sha256(text.encode()).hexdigest()})
        todo = [row for row in rows if not (out / row["path"]).exists()]
        progress.start(f"Building {out.name}", len(rows))
        progress.advance(len(rows) - len(todo))
        jobs = (partial(_write, builder, row, out) for row in todo)
        threads = num_threads()
        for done in side_by_side(jobs, threads=threads, ahead=2 * threads, depth=1):
            assert not isinstance(done, Pause)
            progress.advance(done)
        progress.stop()
        write_text(out / "clips.csv", text)


def _write(builder: Builder, row: Row, out: Path) -> Iterator[int]:
    image, sound = builder.clip(row)
    frames, audio = real_clips.to_frames(image, len(sound)), real_clips.to_int16(sound)
    save_mp4(out / row["path"], frames, audio, real_clips.ENCODING)
    yield 1


def _claim(out: Path, record: dict[str, object]) -> None:
    """Claim an empty folder, or the folder of the same list and construction."""
    if (out / RECORD).exists():
        if read_json(out / RECORD, "the record of a set") != record:
            raise InputError(
                "store-mismatch",
                f"{out} was built from another list or by another version: give a new folder, or "
                "remove this one",
            )
    elif any(entry.name != ".lock" for entry in out.iterdir()):
        raise InputError(
            "conflicting-options",
            f"{out} is not empty and has no {RECORD}: give a new or empty folder",
        )
    else:
        write_json(out / RECORD, record)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the sets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("originals", type=Path, help=f"folder with {', '.join(FOLDERS)}")
    parser.add_argument("out", type=Path, help="folder for the sets")
    parser.add_argument("--sets", default=",".join(SETS), help="names separated by commas")
    parser.add_argument("--lists", type=Path, default=LISTS, help="folder with the lists")
    options = parser.parse_args(arguments)
    builder = Builder(Originals(options.originals), read_list(options.lists / "real24.csv"))
    for name in options.sets.split(","):
        if name not in SETS:
            raise InputError("unknown-name", f"set {name!r} is unknown: use {', '.join(SETS)}")
        folder = options.out / name
        build(options.lists / f"{name}.csv", builder, folder, progress=make_progress())
        write_few_shot(folder)
        print(folder, flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"real.py: {error}")
