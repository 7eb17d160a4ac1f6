"""Table of `cign_analytic` against other methods for several numbers of classes and encoders.

    python benchmarks/signs.py

uses the runs of `study.py classes` and `study.py encoders` (and makes those that are missing) and
writes ``benchmarks/results/signs.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml
from study import STUDIES, run

from cign.bench.table import difference
from cign.utils.files import write_text
from cign.vocabulary import MODALITIES

METHOD = "cign_analytic"
VARIED = {"classes": "{} classes", "encoders": "encoders: {}"}
"""The studies, and the label of their varied parameter in a row."""
PAGE = Path(__file__).parent / "results" / "signs.md"


def sign(entry: dict[str, Any]) -> str:
    """The side of 0 that the interval is on."""
    low, high = entry["low"], entry["high"]
    return "ahead" if low > 0 else "behind" if high < 0 else "open"


def rows_of(name: str, folder: Path) -> list[dict[str, Any]]:
    """All rows of a study."""
    return run(name, yaml.safe_load((STUDIES / f"{name}.yaml").read_text()), folder, ())


def page(studies: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "# Other numbers of classes, other encoders",
        "",
        "`python benchmarks/signs.py`",
        "",
        f"`{METHOD}` minus each of the others: last accuracy, points, with the 95 % interval of a "
        "bootstrap over the test clips of one synthetic dataset (one seed, 4 tasks). Ahead or "
        "behind: the interval is above or below 0; open: it contains 0.",
        "",
        f"| what | {METHOD} | minus | audio | visual | audio-visual |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, rows in studies.items():
        for row in rows:
            if row["method"] != METHOD or not row["versus"]:
                continue
            entries = [row["numbers"][f"last_{modality}"] for modality in MODALITIES]
            cells = [f"{sign(entry)} {difference(entry)}" for entry in entries]
            own = f"{row['numbers']['last_audio_visual']['value']:.1f}"
            what = VARIED[name].format(row["label"])
            lines.append(f"| {what} | {own} | {row['versus']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--to", type=Path, default=Path("work/studies"))
    arguments = parser.parse_args()
    found = {name: rows_of(name, arguments.to) for name in VARIED}
    write_text(PAGE, "\n".join(page(found)) + "\n")


if __name__ == "__main__":
    main()
