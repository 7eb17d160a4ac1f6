"""`prepare` without tokens against the same seeking and decoding by PyAV alone.

    python benchmarks/speed/preparing.py [--clips 24] [--rounds 3]

Uses `benchmarks/prepare_speed.py`, with one process per core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from part import Found, Row, part


def measure(options: argparse.Namespace) -> Found:
    from prepare_speed import make_clips, time_bare, time_prepare

    workers = len(os.sched_getaffinity(0))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "clips"
        paths = make_clips(source, options.clips)
        for _ in range(options.rounds):
            whole_s, work_s = time_bare(paths, workers)
            found.append((time_prepare(source, Path(folder) / "s", workers), whole_s, work_s))
    ours, whole, work = (
        options.clips / statistics.median(column) for column in zip(*found, strict=True)
    )
    rows = [
        Row(what="clips/s of `prepare` / of PyAV alone", ratio=ours / work, at_least=0.9),
        Row(what="the same, including the start of PyAV's processes", ratio=ours / whole),
    ]
    table = (
        f"{options.clips} clips of 10 s, 640x360 H.264 with a key frame every 250 frames, AAC; "
        f"{workers} processes; median of {options.rounds} rounds: {ours:.1f} and {work:.1f} "
        "clips/s. The ratio can exceed 1: frames that no other frame depends on are skipped until "
        "half a second before the target frame."
    )
    return Found(rows=rows, table=table, extra={"clips_per_s": ours, "workers": workers})


if __name__ == "__main__":
    part(
        "Preparing without tokens",
        measure,
        script=__file__,
        options={"clips": (24, "clips"), "rounds": (3, "timed rounds")},
    )
