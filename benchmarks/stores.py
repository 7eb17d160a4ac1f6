"""Render the synthetic datasets of the benchmarks and prepare them as stores.

Existing files are skipped, so an interrupted command can be repeated. Datasets 1 and 1001-1004 are
for tuning, 2-6 for tables; making a store does not use the labels of test clips.

    python benchmarks/stores.py --worlds 2,3,4,5,6 [--variant plain] [--to work/stores]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

CIGN = (sys.executable, "-m", "cign")
BACKBONES = ("small", "small-stem")


def store_name(world: int, variant: str, classes: int) -> str:
    """Name of a store's folder."""
    return (
        f"world{world}"
        + ("" if variant == "plain" else f"-{variant}")
        + ("" if classes == 24 else f"-{classes}classes")
    )


def make_store(folder: Path, world: int, arguments: argparse.Namespace) -> None:
    """Render a dataset, decode it once, cache the tokens of the backbones.

    Args:
        folder: Folder of clips and stores.
        world: Number of the dataset.
        arguments: Those of the command; ``suffix`` is added to the name of the store.
    """
    name = store_name(world, arguments.variant, arguments.classes)
    clips, store = folder / f"{name}-clips", folder / (name + getattr(arguments, "suffix", ""))
    begun = time.monotonic()
    if not (store / "store.json").exists():
        counts = [
            *("--classes", str(arguments.classes), "--train", str(arguments.train)),
            *("--val", str(arguments.val), "--test", str(arguments.test)),
        ]
        where = ["--world", str(world), "--variant", arguments.variant]
        if not (clips / "clips.csv").exists():
            shutil.rmtree(clips, ignore_errors=True)
            subprocess.run([*CIGN, "synth", str(clips), *counts, *where], check=True)
    for backbone in arguments.backbones.split(","):
        if not (store / "tokens" / backbone / "tokens.json").exists():
            command = [*CIGN, "prepare", str(clips), str(store), "--backbone", backbone]
            subprocess.run(command, check=True)
    print(f"{store}: {time.monotonic() - begun:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", default="1", help="numbers separated by commas")
    parser.add_argument("--variant", default="plain")
    parser.add_argument("--classes", type=int, default=24)
    parser.add_argument("--train", type=int, help="default: 60; longtail: 200 in the largest class")
    parser.add_argument("--val", type=int, default=10)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--to", type=Path, default=Path("work/stores"))
    arguments = parser.parse_args()
    if arguments.train is None:
        arguments.train = 200 if arguments.variant == "longtail" else 60
    arguments.to.mkdir(parents=True, exist_ok=True)
    for world in arguments.worlds.split(","):
        make_store(arguments.to, int(world), arguments)


if __name__ == "__main__":
    main()
