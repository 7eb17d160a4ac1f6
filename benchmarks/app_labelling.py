"""How long the labelling of `cign app` takes with many unlabelled clips.

    python benchmarks/app_labelling.py work/synth work/synth-store

Repeats the clips of STORE until there are 100,000, each with a content hash of its own; their
tokens are those of the clips that are repeated, so that reading them takes no time of the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cign.app.label_opening import opened_labelling
from cign.app.service import Service
from cign.data.intact import LIST, checksum

NUM_CLIPS = 100_000


def repeated(store: Path, place: Path) -> Path:
    """A copy of a store that lists its training clips many times."""
    shutil.copytree(store, place)
    table = pq.read_table(place / LIST)
    train = [row for row, split in enumerate(table["split"].to_pylist()) if split == "train"]
    rows = [train[number % len(train)] for number in range(NUM_CLIPS)]
    table = table.take(pa.array(rows))
    names = pa.array([f"{number:06d}.mp4" for number in range(NUM_CLIPS)])
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(NUM_CLIPS)]
    for column, values in (("id", names), ("source", names), ("content_hash", pa.array(hashes))):
        table = table.set_column(table.column_names.index(column), column, values)
    pq.write_table(table, place / LIST)
    info = json.loads((place / "store.json").read_text())
    info["checksums"][LIST] = checksum(place / LIST)
    (place / "store.json").write_text(json.dumps(info))
    return place


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = repeated(options.store, root / "store")
        service = Service(options.run, teach=True, out=root / "model")
        began = time.perf_counter()
        with opened_labelling(service, clips=store, work=root / "work") as labelling:
            assert labelling is not None
            print(f"opening: {time.perf_counter() - began:.2f} s")
            with timed("proposing"):
                labelling.propose()
            slowest = 0.0
            while (shown := labelling.current()) is not None:
                began = time.perf_counter()
                labelling.pool.frame(shown.key)
                labelling.pool.sound(shown.key)
                labelling.label(shown.key, shown.guesses[0][0])
                labelling.current()
                labelling.pending_counts()
                slowest = max(slowest, time.perf_counter() - began)
            print(f"slowest decision: {slowest:.2f} s")
            with timed("learning"):
                labelling.learn()


if __name__ == "__main__":
    main()
