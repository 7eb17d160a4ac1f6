"""Random access to batches of 64 clips: the store's arrays against jpg and wav files.

    python benchmarks/speed/reading.py [--clips 600] [--rounds 7]

The readers are those of `benchmarks/store_reading.py`, which compares more storage formats.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from part import Found, Row, part, take_turns

BATCHES = 8


def measure(options: argparse.Namespace) -> Found:
    from store_reading import BATCH, files_reader, make_clips, store_reader

    frames, audio = make_clips(options.clips)
    rng = np.random.default_rng(1)
    batches = rng.integers(0, options.clips, (BATCHES, BATCH))
    contestants: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in (("store", store_reader), ("jpg + wav", files_reader)):
            place = Path(folder) / name.split()[0]
            place.mkdir()
            read = build(place, frames, audio)
            images, waves = read(batches[0])
            assert np.array_equal(waves, audio[batches[0]])
            assert images.shape == frames[batches[0]].shape

            def read_all(read: Callable[[np.ndarray], object]) -> None:
                for indices in batches:
                    read(indices)

            contestants[name] = partial(read_all, read)
        timed = take_turns(contestants, options.rounds)
    rates = {name: BATCHES * BATCH / one.median_s for name, one in timed.items()}
    what = "clips/s of the store / of jpg + wav files"
    rows = [Row(what=what, ratio=rates["store"] / rates["jpg + wav"], at_least=10.0)]
    lines = ["| | clips/s |", "| --- | ---: |"]
    lines += [f"| {name} | {rate:,.0f} |" for name, rate in rates.items()]
    lines += ["", f"{options.clips} clips of 246 kB, page cache warm, one process and thread."]
    return Found(rows=rows, table="\n".join(lines))


if __name__ == "__main__":
    part(
        "Reading batches of 64 clips by index",
        measure,
        script=__file__,
        options={"clips": (600, "clips"), "rounds": (7, "timed rounds")},
    )
