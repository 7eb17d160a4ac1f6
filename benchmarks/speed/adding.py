"""Adding a class of 60 cached clips to a closed form with 1,000 known classes.

    python benchmarks/speed/adding.py [--known 1000]

Uses `benchmarks/closed_form.py` with random tokens of the small encoders' shape; compares the time
with the bound of one second, and 1,000 known classes with 36.
"""

from __future__ import annotations

import argparse

from part import Found, Row, part

from cign.backbones.registry import load_backbone
from cign.runs.training_data import token_shape

BOUND_S = 1.0


def measure(options: argparse.Namespace) -> Found:
    from closed_form import adding

    shape = token_shape(load_backbone("small"))
    found = {number: adding(shape, number) for number in (36, options.known)}
    rows = [
        Row(
            what=f"time to add a class to {options.known:,} known ones / {BOUND_S:g} s",
            ratio=found[options.known][0] / BOUND_S,
            at_most=1.0,
        ),
        Row(
            what=f"the same with {options.known:,} known classes / with 36",
            ratio=found[options.known][0] / found[36][0],
        ),
    ]
    lines = ["| known classes | seconds | state, MB |", "| ---: | ---: | ---: |"]
    for number, (seconds, num_bytes) in found.items():
        lines.append(f"| {number:,} | {seconds:.2f} | {num_bytes / 1e6:.1f} |")
    return Found(rows=rows, table="\n".join(lines))


if __name__ == "__main__":
    part(
        "Adding a class of 60 cached clips, closed form",
        measure,
        script=__file__,
        options={"known": (1000, "known classes")},
    )
