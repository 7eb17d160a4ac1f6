"""Few-shot lists of a set: 1, 2, 5 and 10 training clips per class, all other clips unchanged.

    python benchmarks/few_shot.py work/real/real24

writes ``few_shot_1.csv``, ... beside ``clips.csv``, which ``cign prepare`` reads as tables. The
training clips of a class are ranked by a hash of their path, so that the lists are nested, do not
depend on the order of the clips, and are the same for sets with the same paths.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from cign.data.clips import Clip
from cign.data.formats.table import read_table
from cign.errors import InputError
from cign.utils.files import write_text

SHOTS = (1, 2, 5, 10)


def few_shot(clips: Sequence[Clip], num_shots: int) -> list[int]:
    """Choose the clips of a few-shot list.

    A training clip is chosen if it is among the first ``num_shots`` of any of its labels; in a set
    with several labels per clip, a class can therefore have more.

    Args:
        clips: All clips of a set.
        num_shots: Training clips per class.

    Returns:
        The ascending indices of the chosen training clips and of all other clips.

    Raises:
        InputError: If a class has fewer training clips.
    """
    if num_shots < 1:
        raise InputError("bad-value", f"num_shots is {num_shots}: use 1 or more")
    of_class: dict[str, list[int]] = defaultdict(list)
    for index, clip in enumerate(clips):
        if clip.split == "train":
            for label in clip.labels:
                of_class[label].append(index)
    chosen = {index for index, clip in enumerate(clips) if clip.split != "train"}
    for label, indices in of_class.items():
        if len(indices) < num_shots:
            raise InputError(
                "bad-value",
                f"class {label} has {len(indices)} training clips: choose at most as many shots, "
                f"not {num_shots}",
            )
        ranked = sorted(indices, key=lambda i: (_hash(clips[i].id), clips[i].id))
        chosen.update(ranked[:num_shots])
    return sorted(chosen)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def write_few_shot(folder: Path, shots: Sequence[int] = SHOTS) -> list[Path]:
    """Write the few-shot lists of a set; return their paths.

    Numbers for which a class has too few training clips are left out.
    """
    clips = read_table(folder / "clips.csv").clips
    fewest = min(_training_clips(clips).values(), default=0)
    with (folder / "clips.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    paths = []
    for num_shots in (number for number in shots if number <= fewest):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([header, *(rows[index] for index in few_shot(clips, num_shots))])
        paths.append(folder / f"few_shot_{num_shots}.csv")
        write_text(paths[-1], text.getvalue())
    return paths


def _training_clips(clips: Sequence[Clip]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for clip in clips:
        for label in clip.labels:
            counts[label] += clip.split == "train"
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a set built by real.py")
    for path in write_few_shot(parser.parse_args().folder):
        print(path)


if __name__ == "__main__":
    main()
