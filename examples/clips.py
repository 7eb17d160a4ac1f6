"""Clips to follow docs/tutorial.md and docs/own-clips.md with: real recordings, or generated ones.

    CIGN_REAL=FOLDER python examples/clips.py tutorial   # clips/ and others/
    CIGN_REAL=FOLDER python examples/clips.py own        # zoo/, clips.csv, more/ and unseen/

Files are written to the current folder. CIGN_REAL names a folder with the set `real24`, which
`make real-sets` builds (docs/real.md); without it clips are generated. The test clips of `real24`
are not used: its validation clips are the test clips here.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cign.cli.entry_point import main as cign

TAUGHT = ("clock", "dog", "helicopter", "rain_umbrella", "rooster", "sea_ship")
ADDED_LATER = ("guitar_laptop", "mandolin")
NUM_TRAIN, NUM_VAL, NUM_TEST = 8, 2, 4  # of each class, in the tutorial
NEW = "rooster"  # the class that own-clips.md adds
NUM_OWN = 10  # of each class, in own-clips.md


@dataclass(frozen=True, order=True)
class Clip:
    """A clip of a class, and the recording that its audio was cut from."""

    source: str
    path: Path


def real_clips(built: Path, label: str, split: str) -> list[Clip]:
    """The clips of a class in one split of the set `real24`, in the order of their sources."""
    folder = built / "real24"
    with (folder / "clips.csv").open(encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file) if (row["labels"], row["split"]) == (label, split)
        ]
    return sorted(Clip(row["source"], folder / row["path"]) for row in rows)


def in_splits(built: Path, label: str) -> dict[str, list[Path]]:
    """A few clips of a class for the tutorial; no source is in two splits."""
    clips = real_clips(built, label, "train")
    train = clips[:NUM_TRAIN]
    sources = {clip.source for clip in train}
    val = [clip for clip in clips if clip.source not in sources][:NUM_VAL]
    test = real_clips(built, label, "val")[:NUM_TEST]
    chosen = {"train": train, "val": val, "test": test}
    return {split: [clip.path for clip in part] for split, part in chosen.items()}


def copy(paths: list[Path], folder: Path) -> None:
    """Copy clips to a folder, as 0000.mp4 and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / f"{number:04d}.mp4")


def generate(folder: str, sizes: str) -> None:
    """Render clips of one second with `cign synth`."""
    if code := cign(["synth", folder, *sizes.split(), "--seconds", "1", "--workers", "1"]):
        raise SystemExit(code)


def tutorial(built: Path | None) -> None:
    """Write `clips` and `others`, folders of splits and classes."""
    if built is None:
        sizes = f"--train {NUM_TRAIN} --val {NUM_VAL} --test {NUM_TEST}"
        generate("clips", f"--classes {len(TAUGHT)} {sizes}")
        generate("others", f"--classes {len(ADDED_LATER)} {sizes} --world 8")
        return
    for folder, labels in (("clips", TAUGHT), ("others", ADDED_LATER)):
        for label in labels:
            for split, paths in in_splits(built, label).items():
                copy(paths, Path(folder, split, label))


def own(built: Path | None) -> None:
    """Write `zoo` and `more`, folders of classes; `clips.csv`, a table; `unseen`, other clips."""
    if built is None:
        generate("generated", f"--classes {len(TAUGHT)} --train {NUM_OWN} --val 2 --test 4")
        names = sorted(path.name for path in Path("generated/train").iterdir())
        labels = dict(zip(names, [*names[:-1], NEW], strict=True))  # the last one is added later
        parts = {
            label: [sorted(Path("generated", split, name).iterdir()) for split in ("train", "test")]
            for name, label in labels.items()
        }
    else:
        parts = {
            label: [
                [clip.path for clip in real_clips(built, label, split)]
                for split in ("train", "val")
            ]
            for label in TAUGHT
        }
    Path("unseen").mkdir(exist_ok=True)
    for label, (taught, unseen) in parts.items():
        copy(taught[:NUM_OWN], Path("more" if label == NEW else "zoo", label))
        for number, path in enumerate(unseen[:2]):
            shutil.copyfile(path, Path("unseen", f"{label}_{number}.mp4"))
    splits = ["train"] * 7 + ["val"] + ["test"] * 2
    with Path("clips.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "labels", "split"))
        for label in parts:
            for number, split in enumerate(splits if label != NEW else []):
                table.writerow((f"{label}/{number:04d}.mp4", label, split))
    if built is None:
        shutil.rmtree("generated")


def main(words: Sequence[str] | None = None) -> None:
    """Write the clips of a page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", choices=("tutorial", "own"))
    options = parser.parse_args(words)
    named = os.environ.get("CIGN_REAL")
    built = Path(named) if named else None
    if built is not None and not (built / "real24" / "clips.csv").is_file():
        raise SystemExit(
            f"CIGN_REAL: {built} has no real24/clips.csv; build it with make real-sets"
        )
    {"tutorial": tutorial, "own": own}[options.page](built)
    print(
        "real recordings" if built else "generated clips: CIGN_REAL names no folder of built sets"
    )


if __name__ == "__main__":
    main()
