"""Copies of stores whose classes are ordered by number of training clips.

    python benchmarks/by_size.py work/stores/world2-longtail [--to work/stores]

makes ``world2-longtail-many`` (the largest classes are learned first) and ``world2-longtail-few``:
the same clips, tokens and test clips with a different class order 0. Arrays are hard-linked, not
copied; existing stores are skipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from cign.data.store import Store
from cign.utils.files import write_json


def link(store: Store, folder: Path, *, largest_first: bool) -> None:
    """Link a store's files, and write its description last."""
    counts = store.table.counts()["train"]
    sign = -1 if largest_first else 1
    names = sorted(store.class_names, key=lambda name: (sign * counts.get(name, 0), name))
    excluded = shutil.ignore_patterns("store.json", ".lock")
    shutil.rmtree(folder, ignore_errors=True)  # files of an interrupted run
    shutil.copytree(store.folder, folder, ignore=excluded, copy_function=os.link)
    write_json(folder / "store.json", {**store.info, "class_names": names})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, default=Path("work/stores"))
    arguments = parser.parse_args()
    for path in arguments.stores:
        for end in ("many", "few"):
            folder = arguments.to / f"{path.name}-{end}"
            if not (folder / "store.json").exists():
                link(Store.open(path), folder, largest_first=end == "many")
            print(folder, flush=True)


if __name__ == "__main__":
    main()
