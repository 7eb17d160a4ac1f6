"""Stores whose classes come by their number of training clips instead of in an order of chance.

    python benchmarks/by_size.py work/stores/world2-longtail [--to work/stores]

makes ``world2-longtail-many`` (the largest classes are taught first) and ``world2-longtail-few``:
the same clips, tokens and test clips under another order 0 of the classes. Arrays are linked, not
copied.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

from cign.data.store import Store
from cign.files import write_json


def link(store: Store, folder: Path, *, largest_first: bool) -> None:
    """Link a store's files, and write its description last."""
    counts = Counter(name for i in store.indices("train") for name in store.table.clips[i].labels)
    sign = -1 if largest_first else 1
    names = sorted(store.class_names, key=lambda name: (sign * counts[name], name))
    for source in sorted(store.folder.rglob("*")):
        target = folder / source.relative_to(store.folder)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif source.name not in ("store.json", ".lock") and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
    write_json(folder / "store.json", {**store.info, "class_names": names})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, default=Path("work/stores"))
    arguments = parser.parse_args()
    for path in arguments.stores:
        for end in ("many", "few"):
            folder = arguments.to / f"{path.name}-{end}"
            link(Store.open(path), folder, largest_first=end == "many")
            print(folder, flush=True)


if __name__ == "__main__":
    main()
