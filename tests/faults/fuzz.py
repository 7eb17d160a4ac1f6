"""Mutated media files through the decoding processes of `cign prepare`.

    python tests/faults/fuzz.py FOLDER --number 500 --seed 0

prints one JSON object: files, the conditions they were given, crashes and time-outs of decoding
processes (which cost their file alone), and problems (a file without an answer, an answer without
a condition we know).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cign.data.media.decode import MediaSpec
from cign.data.prepare.findings import is_usable
from cign.data.prepare.workers import decode_all
from faults.mutations import mutate

SPEC = MediaSpec(frame_px=32, rate_hz=8000, window_s=1.0)
CONDITIONS = (
    *("missing", "unreadable", "damaged", "one modality", "silent", "still", "still not tested"),
    *("short", "long", "rotated", "10-bit", "odd size", "variable rate", "surround"),
)
BATCH = 200  # files on the disk at a time


def fuzz(
    sources: list[Path], folder: Path, number: int, seed: int, timeout_s: float, workers: int
) -> dict[str, Any]:
    """Decode mutated files.

    Args:
        sources: Whole files to be mutated, in turn.
        folder: For the mutated files; they are removed.
        number: How many.
        seed: Of the first; the others count on.
        timeout_s: For a file.
        workers: Decoding processes.
    """
    counts: Counter[str] = Counter()
    problems: list[str] = []
    contents = [path.read_bytes() for path in sources]
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    for first in range(0, number, BATCH):
        tasks = []
        for row in range(first, min(first + BATCH, number)):
            own, other = row % len(sources), (row * 7 + 3) % len(sources)
            path = folder / f"{row}{sources[own].suffix}"
            path.write_bytes(mutate(contents[own], contents[other], seed + row))
            tasks.append({"row": row, "path": str(path), "start_s": None, "end_s": None})
        seen = {}
        for answer in decode_all(tasks, SPEC, None, num_workers=workers, timeout_s=timeout_s):
            seen[answer["row"]] = answer
        for task in tasks:
            name = f"seed {seed + task['row']} of {sources[task['row'] % len(sources)].name}"
            answer = seen.get(task["row"])
            if answer is None:
                problems.append(f"{name}: no answer")
                continue
            counts["decoded" if is_usable(answer) else "left out"] += 1
            details = [detail for _, detail in answer["conditions"]]
            counts["process died"] += any("crashed on it" in detail for detail in details)
            counts["took too long"] += any("took more than" in detail for detail in details)
            counts["over its memory"] += any("MemoryError" in detail for detail in details)
            strange = [c for c, _ in answer["conditions"] if c not in CONDITIONS]
            if strange or (not is_usable(answer) and not answer["conditions"]):
                problems.append(f"{name}: {answer['conditions']}")
            Path(task["path"]).unlink()
    took_s = round(time.monotonic() - begin, 1)
    return {"files": number, **counts, "problems": problems, "seconds": took_s}


def make_sources(folder: Path) -> list[Path]:
    """Small files of every container and codec that ffmpeg makes for the tests of media."""
    from data.conftest import RECIPES, ffmpeg

    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        if not (folder / name).exists() and name not in ("wide.mp4", "long.mp4"):
            ffmpeg(*recipe.split(), "-fflags", "+bitexact", str(folder / name))
    return sorted(folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    sources = make_sources(options.folder / "sources")
    how = (options.number, options.seed, options.timeout, options.workers)
    print(json.dumps(fuzz(sources, options.folder / "mutated", *how), indent=2))


if __name__ == "__main__":
    main()
